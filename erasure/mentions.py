"""Texts that name a person in other people's rows: a note, an address, the properties of an event.

`subjects` finds a person by a column; no column says who is named in free text. So the operator gives the words, and
this says in which files of Bronze they are: what Silver and the quarantine have comes from there. Nothing is removed
here, because such a row is another person's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from erasure.bronze import PARALLEL_READS, opened
from erasure.subject import Holder
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.lake.mount import require_lake


@dataclass(frozen=True)
class Mention:
    """A column of a Bronze file in which one of the words is.

    Attributes:
        column: Its text, or the JSON in it, has the word.
        rows: In how many rows that are not the subject's own.
        first: The first of them, as `topic:partition:offset`, for `pdp trace`.
    """

    domain: str
    day: date
    file: str
    column: str
    rows: int
    first: str


def mentions(lake: Lake, catalog: Catalog, held: Sequence[Holder], words: Sequence[str]) -> list[Mention]:
    """Search every Bronze file of every domain for words, whatever their case; the words are in no result.

    Raises:
        PermanentError: a file is no Parquet, so that nobody can say what is in it.
        TransientError: the store did not answer, or the lake is not mounted.
    """
    if not words:
        return []
    holders = {holder.domain.name: holder for holder in held}
    files = [
        (domain, day, file.name)
        for domain in catalog
        for day, listed in lake.list_bronze(domain).items()
        for file in listed
    ]
    with ThreadPoolExecutor(PARALLEL_READS, "mentions") as pool:
        found = pool.map(partial(_of_file, lake, holders, words), files)
        mentioned = [mention for each in found for mention in each]
    require_lake(lake)  # a disk that went meanwhile has shown nothing of the person
    return mentioned


def _of_file(
    lake: Lake, holders: dict[str, Holder], words: Sequence[str], file: tuple[Domain, date, str]
) -> list[Mention]:
    domain, day, name = file
    with opened(lake, name) as parquet:
        table = parquet.read()
    if (holder := holders.get(domain.name)) and holder.column in table.column_names:
        table = table.filter(pc.invert(holder.rows_of(table.column(holder.column))))
    return list(_of_columns(table, words, domain.name, day, name))


def _of_columns(table: pa.Table, words: Sequence[str], domain: str, day: date, name: str) -> Iterator[Mention]:
    for field in table.schema:
        if not (pat.is_string(field.type) or pat.is_large_string(field.type)):
            continue
        texts = table.column(field.name)
        named = pa.chunked_array([pa.repeat(pa.scalar(False), table.num_rows)])
        for word in words:
            named = pc.or_(named, pc.fill_null(pc.match_substring(texts, word, ignore_case=True), False))
        if rows := pc.sum(named).as_py():
            first = table.filter(named).slice(0, 1).to_pylist()[0]
            origin = f"{first['_topic']}:{first['_partition']}:{first['_offset']}"
            yield Mention(domain, day, name, field.name, rows, origin)
