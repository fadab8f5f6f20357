"""What every layer holds of a subject: one line a place that was read to its end.

Only counting belongs here, and each layer's own module does it; a line with nothing of the subject is the proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from audit.warehouse_tables import WarehouseTables
from erasure import bronze, delta_tables, source
from erasure.bronze import FileRows
from erasure.delta_tables import TableRows
from erasure.source import SourceRows
from erasure.subject import Holder
from erasure.topics import TopicRecords, Topics
from platform_core.lake.lake import Lake
from platform_core.lake.mount import require_lake
from platform_core.settings import Settings
from warehouse.connection import connect


@dataclass(frozen=True)
class SurveyLine:
    """One place.

    Attributes:
        layer: Of the platform, for example `bronze`.
        place: The table, topic or folder.
        others: Rows or records of everybody else.
        of_subject: The subject's.
    """

    layer: str
    domain: str
    place: str
    others: int
    of_subject: int


@dataclass(frozen=True)
class Survey:
    """Every layer, at one moment.

    Attributes:
        lines: One a place.
        files: The Bronze files that have rows of the subject, by domain.
        sources: What a domain's source holds, by domain.
        topics: What a topic holds, by topic.
        tables: What a Delta table holds, by name.
    """

    lines: list[SurveyLine] = field(default_factory=list)
    files: dict[str, tuple[FileRows, ...]] = field(default_factory=dict)
    sources: dict[str, SourceRows] = field(default_factory=dict)
    topics: dict[str, TopicRecords] = field(default_factory=dict)
    tables: dict[str, TableRows] = field(default_factory=dict)

    @property
    def of_subject(self) -> int:
        """All rows and records of the subject."""
        return sum(line.of_subject for line in self.lines)

    def dates(self, domain: str) -> dict[date, list[FileRows]]:
        """Return the files with rows of the subject by date."""
        result: dict[date, list[FileRows]] = {}
        for file in self.files.get(domain, ()):
            result.setdefault(file.day, []).append(file)
        return result


def survey(settings: Settings, lake: Lake, topics: Topics, held: Sequence[Holder]) -> Survey:
    """Read every layer of the holders' domains to its end.

    Raises:
        TransientError: a service did not answer, or the lake is not mounted; nothing can be said without it.
    """
    require_lake(lake)
    result = Survey()
    for holder in held:
        name = holder.domain.name
        if (rows_of_source := source.count(settings, holder)) is not None:
            result.sources[name] = rows_of_source
            result.lines.extend(_of_source(rows_of_source, holder))
        for topic in (holder.domain.topic.name, *topics.of_dead_letters(holder)):
            records = result.topics[topic] = topics.count(topic, holder)
            result.lines.append(_line("kafka", holder, topic, records.records, records.of_subject))
        listed = list(bronze.search(lake, holder))
        result.files[name] = tuple(file for file in listed if file.of_subject)
        rows, of_subject = sum(file.rows for file in listed), sum(file.of_subject for file in listed)
        result.lines.append(_line("bronze", holder, lake.bronze(holder.domain), rows, of_subject))
        for layer, table in tables(lake, holder):
            if (found := delta_tables.count(lake, table, holder)) is not None:
                result.tables[table] = found
                result.lines.append(_line(layer, holder, table, found.rows, found.of_subject))
                result.lines.append(_line(f"{layer} history", holder, table, found.in_history, found.in_history))
        result.lines.extend(_of_warehouse(settings, holder))
    require_lake(lake)  # a disk that went meanwhile has shown nothing of the person
    return result


def _line(layer: str, holder: Holder, place: str, rows: int, of_subject: int) -> SurveyLine:
    return SurveyLine(layer, holder.domain.name, place, rows - of_subject, of_subject)


def _of_source(found: SourceRows, holder: Holder) -> Iterator[SurveyLine]:
    yield _line("source", holder, found.table, found.live, found.live)
    if found.tombstone_table:
        yield _line("source", holder, found.tombstone_table, found.tombstones, found.tombstones)


def tables(lake: Lake, holder: Holder) -> list[tuple[str, str]]:
    """Return the layer and the name of each Delta table of a domain."""
    domain = holder.domain
    gold = [("gold", lake.gold(domain, table)) for table in domain.gold.tables]
    versions = [("silver", lake.key_versions(domain))] if domain.silver.global_key else []
    return [("silver", lake.silver(domain)), *versions, ("quarantine", lake.quarantine(domain)), *gold]


def _of_warehouse(settings: Settings, holder: Holder) -> Iterator[SurveyLine]:
    with connect(settings, "pdp erase") as connection:
        asked = WarehouseTables(connection, settings.snowflake_database, holder.domain)
        for table in holder.domain.gold.tables:
            yield _line("warehouse", holder, table, *asked.count(table, holder.column, holder.value))
