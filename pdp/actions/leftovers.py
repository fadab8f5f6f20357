"""What no entry of domains.yaml names any more: what a removed domain leaves in the lake, Kafka and the warehouse.

It only looks; nobody deletes such things but a person. An entry with a mistake still owns its names. What a domain
that runs owns belongs to `platform_core.domain.catalog`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.counted import counted
from platform_core.domain.topic_names import DLQ_PREFIX, PLATFORM_TOPICS, topics_beside
from platform_core.errors import PlatformError, TransientError

if TYPE_CHECKING:
    from platform_core.lake.lake import Lake
    from platform_core.partitions.partition_meta import Partition
    from platform_core.settings import Settings

_LAYERS = ("bronze", "silver", "gold")


@dataclass(frozen=True)
class Leftover:
    """Something that a removed domain has left.

    Attributes:
        kind: What it is.
        name: Where it is.
        holds: How much, in words.
    """

    kind: str
    name: str
    holds: str


def find(
    settings: Settings,
    lake: Lake,
    owned: Collection[tuple[str, str]],
    rows: Sequence[Partition],
    known: Collection[str],
) -> tuple[list[Leftover], list[str]]:
    """Return what is left, and why a service could not be asked.

    Args:
        owned: Key and name of everything that domains.yaml names.
        rows: partition_meta.
        known: The domains of domains.yaml, those with a mistake included.
    """
    by_key: dict[str, set[str]] = {}
    for key, name in owned:
        by_key.setdefault(key, set()).add(name)
    searches: dict[str, Callable[[], Iterator[Leftover]]] = {
        "partition_meta": lambda: _partitions(rows, known),
        "The lake": lambda: _folders(
            lake, {folder for key in by_key for folder in by_key[key] if key.endswith(".prefix")}
        ),
        "Kafka": lambda: _topics(settings, by_key.get("topic.name", set())),
        "The warehouse": lambda: warehouse_tables(settings, by_key.get("warehouse_schema", set())),
        "STATE_DIR": lambda: _watermarks(settings, known),
    }
    found: list[Leftover] = []
    unasked: list[str] = []
    for service, search in searches.items():
        try:
            found += search()
        except (
            Exception
        ) as error:  # a client without its settings raises its own; the other services are asked all the same
            message = error.message if isinstance(error, PlatformError) else str(error)
            unasked.append(f"{service} was not looked at: {message}")
    return found, unasked


def _partitions(rows: Sequence[Partition], known: Collection[str]) -> Iterator[Leftover]:
    for name in sorted({row.domain for row in rows} - set(known)):
        days = sorted(row.partition_date for row in rows if row.domain == name)
        yield Leftover(
            "partitions", f"partition_meta, {name}", f"{counted(len(days), 'date')}, {days[0]} to {days[-1]}"
        )


def _folders(lake: Lake, owned: Collection[str]) -> Iterator[Leftover]:
    """Look in every bucket for folders that are no domain's, and below those that only lead to one."""
    waiting = sorted({*_LAYERS, *(each.split("/")[0] for each in owned)})
    while waiting:
        folder = waiting.pop(0)
        for child in _children(lake, folder):
            path = f"{folder}/{child}"
            if any(f"{path}/".startswith(f"{each}/") for each in owned):
                continue
            if any(each.startswith(f"{path}/") for each in owned):
                waiting.append(path)
                continue
            inside = _children(lake, path)
            table = "_delta_log" in inside
            dates = [name for name in inside if "=" in name]
            yield Leftover("table" if table else "folder", path, counted(len(dates), "date"))


def _children(lake: Lake, folder: str) -> list[str]:
    try:
        return sorted(lake.folders(folder))
    except OSError as error:
        raise TransientError(f"The lake could not be listed under `{lake.uri(folder)}`: {error}.") from error


def _topics(settings: Settings, owned: Collection[str]) -> Iterator[Leftover]:
    from platform_kafka.reader import OperatorKafka
    from platform_kafka.topics import SINK_GROUP

    ours = set(PLATFORM_TOPICS)
    for name in owned:
        ours |= {name, *topics_beside(name)}
    with OperatorKafka(settings) as kafka:
        names = [name for name in kafka.topics if name not in ours]
        partitions = [tp for name in names for tp in kafka.partitions(name)]
        committed = kafka.committed(SINK_GROUP, partitions)
        bounds = kafka.bounds(partitions)
        for name in names:
            offsets = [tp for tp in committed if tp[0] == name]
            # A shared cluster has topics of others; the sink's commits tell whose a topic of another name was.
            if offsets or name.startswith(("raw-", DLQ_PREFIX)):
                records = sum(bounds[tp].records for tp in kafka.partitions(name))
                yield Leftover("topic", name, counted(records, "record"))
            if offsets:
                yield Leftover("group offsets", f"{SINK_GROUP}, {name}", counted(len(offsets), "Kafka partition"))


def warehouse_tables(settings: Settings, owned: Collection[str]) -> Iterator[Leftover]:
    """Yield the tables of schemas that are neither a domain's nor the platform's."""
    from warehouse import ddl
    from warehouse.connection import connect

    schemas = {*owned, ddl.LEDGER_SCHEMA, "INFORMATION_SCHEMA", "PUBLIC"}
    listed = ddl.identifier(settings.snowflake_database, "INFORMATION_SCHEMA", "TABLES")
    with connect(settings, "pdp:domains") as connection:
        cursor = connection.cursor()
        tables = cursor.execute(f"SELECT TABLE_SCHEMA, TABLE_NAME FROM {listed} ORDER BY 1, 2").fetchall()
    for schema, table in tables:
        if schema.upper() not in schemas:
            yield Leftover("warehouse table", f"{schema}.{table}", "")


def _watermarks(settings: Settings, known: Collection[str]) -> Iterator[Leftover]:
    from producers.watermark import names_in, state_of, watermark_of

    state = state_of(settings)
    for name in names_in(state):
        if name not in known:
            store = watermark_of(state, name)
            yield Leftover("watermark", store.location, f"saved {store.saved_at():%F %T}")
