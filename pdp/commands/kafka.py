"""`pdp topics`, `pdp lag` and `pdp peek`: what Kafka holds, how far the sink is behind, and single records.

These only look and never join the sink's group; changing offsets is `pdp.commands.offsets`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pdp import arguments, output, record_bytes
from pdp.arguments import AnyDomainName, ArgumentError
from pdp.environment import Platform
from pdp.output import Column, Json
from platform_core.domain.catalog import Catalog
from platform_kafka.topics import SINK_GROUP, dlq_name, parked_name, redriven_name, topic_specs

if TYPE_CHECKING:
    from platform_kafka.reader import OperatorKafka
    from platform_kafka.records import Message

DAY_MS = 86_400_000
FOREIGN = "foreign"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def topics(ctx: typer.Context, as_json: Json = False) -> None:
    """List Kafka's topics: what they are for, what they hold, and how long."""
    from platform_kafka.reader import OperatorKafka

    platform: Platform = ctx.obj
    kinds = _kinds(platform.catalog)
    with OperatorKafka(platform.settings) as kafka:
        names = list(kafka.topics)
        bounds = kafka.bounds([where for name in names for where in kafka.partitions(name)])
        retention = kafka.retention_ms(names)
    rows: list[dict[str, Any]] = []
    for name in sorted(names, key=lambda name: (name not in kinds, list(kinds).index(name) if name in kinds else name)):
        held = [bounds[where] for where in bounds if where[0] == name]
        rows.append(
            {
                "topic": name,
                "kind": kinds.get(name, FOREIGN),
                "partitions": len(held),
                "records": sum(each.records for each in held),
                "begin": sum(each.begin for each in held),
                "end": sum(each.end for each in held),
                "retention_ms": retention[name],
            }
        )
    missing = [name for name in kinds if name not in names]
    output.answer(
        as_json,
        {"topics": rows, "missing": missing},
        output.table(
            rows, "topic", "kind", "partitions", "records", "begin", "end", Column("retention", "retention_ms", _days)
        ),
        notes=[f"Missing: {arguments.quoted(missing)}. `python -m producers provision` creates them."] * bool(missing),
    )


def lag(ctx: typer.Context, domain: AnyDomainName = None, as_json: Json = False) -> None:
    """Show how far the sink is behind, by partition, and whether it runs."""
    from pdp.actions import group_offsets
    from platform_kafka.reader import OperatorKafka

    platform: Platform = ctx.obj
    topics = [each.topic.name for each in arguments.domains(platform.catalog, domain)]
    with OperatorKafka(platform.settings) as kafka:
        group = kafka.group(SINK_GROUP)
        rows = [output.record(each, "lag", "dropped") for each in group_offsets.lags(kafka, topics)]
    total = sum(row["lag"] for row in rows)
    oldest = min((row["oldest_at"] for row in rows if row["oldest_at"]), default=None)
    members = [{"client_id": m.client_id, "host": m.host, "partitions": len(m.partitions)} for m in group.members]
    who = ", ".join(f"{m['client_id']}@{str(m['host']).lstrip('/')} ({m['partitions']})" for m in members)
    output.answer(
        as_json,
        {
            "group": {"name": group.name, "state": group.state, "members": members},
            "partitions": rows,
            "lag": total,
            "oldest_at": oldest,
        },
        output.table(
            rows,
            "topic",
            "partition",
            Column("committed", show=output.number_or_none),
            "end",
            "lag",
            Column("oldest unread", "oldest_at", _age),
        ),
        Text(f"{total:,} records behind" + (f", the oldest waits for {_age(oldest)}" if oldest else "")),
        Text(f"group {group.name}: {group.state}, {who or 'no member'}"),
        notes=[
            f"`{row['topic']}` partition {row['partition']}: retention has dropped {row['dropped']:,} offsets before"
            " the sink read them. Produce the records again from their source."
            for row in rows
            if row["dropped"]
        ],
    )


def peek(
    ctx: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="A topic, see `pdp topics`")],
    partition: Annotated[int | None, typer.Option("--partition", min=0, help="Only this partition")] = None,
    offset: Annotated[int | None, typer.Option("--offset", min=0, help="Start at this offset")] = None,
    from_end: Annotated[
        int | None, typer.Option("--from-end", min=1, metavar="N", help="Start N offsets before each partition's end")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Records to show")] = 10,
    as_json: Json = False,
) -> None:
    """Show records of a topic: place, time, key, headers and value; the newest without an offset."""
    from platform_kafka.reader import OperatorKafka

    platform: Platform = ctx.obj
    if offset is not None and from_end is not None:
        raise ArgumentError("`--offset` and `--from-end` exclude each other: choose one.")
    with OperatorKafka(platform.settings) as kafka:
        arguments.one_of("topic", topic, list(kafka.topics))
        shown = _records(kafka, topic, partition, offset, from_end, limit)
    output.answer(
        as_json,
        {"topic": topic, "records": [_document(message) for message in shown]},
        *(line for message in shown for line in _lines(message)),
        notes=[] if shown else [f"`{topic}` has no record there."],
    )


def _records(
    kafka: OperatorKafka, topic: str, partition: int | None, offset: int | None, from_end: int | None, limit: int
) -> list[Message]:
    partitions = kafka.partitions(topic)
    if partition is not None:
        if (topic, partition) not in partitions:
            raise ArgumentError(f"`{topic}` has {len(partitions)} partitions, the first is 0; there is no {partition}.")
        partitions = [(topic, partition)]
    bounds = kafka.bounds(partitions)
    if offset is not None:
        if len(partitions) > 1:
            raise ArgumentError(f"An offset needs its partition: `{topic}` has {len(partitions)}. Add `--partition`.")
        (where,) = partitions
        if not bounds[where].begin <= offset < bounds[where].end:
            raise ArgumentError(
                f"`{topic}` partition {where[1]} holds the offsets from {bounds[where].begin} to before"
                f" {bounds[where].end}; {offset} is not among them."
            )
    back = from_end or limit
    starts = {w: max(b.begin, b.end - back) if offset is None else offset for w, b in bounds.items()}
    found: list[Message] = []
    for message in kafka.read(starts, {where: bounds[where].end for where in partitions}):
        found.append(message)
        if offset is not None and len(found) == limit:
            break
    found.sort(key=lambda message: (message.timestamp()[1], message.partition(), message.offset()))
    return found[:limit] if offset is not None or from_end is not None else found[-limit:]


def _kinds(catalog: Catalog) -> dict[str, str]:
    """Return what the platform's topics are for, in the order in which they are shown."""
    kinds = {}
    for name, kind in (("raw", None), ("dlq", dlq_name), ("parked", parked_name), ("redriven", redriven_name)):
        for domain in catalog:
            kinds[domain.topic.name if kind is None else kind(domain)] = name
    return kinds | {spec.name: "platform" for spec in topic_specs(catalog) if spec.name not in kinds}


def _days(milliseconds: int | None) -> str:
    return "for ever" if milliseconds is None else f"{milliseconds / DAY_MS:g} d"


def _age(at: datetime | None) -> str:
    return "" if at is None else output.age(at)


def _at(message: Message) -> datetime | None:
    kind, milliseconds = message.timestamp()
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds) if kind and milliseconds >= 0 else None
    except OverflowError:  # a producer may set any 64-bit number
        return None


def _document(message: Message) -> dict[str, Any]:
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "at": _at(message),
        "key": record_bytes.text(message.key()),
        "headers": record_bytes.headers_document(message.headers() or ()),
        "value": record_bytes.value_document(message.value()),
    }


def _lines(message: Message) -> Iterable[Text]:
    value = message.value()
    schema = record_bytes.value_document(value)["schema_id"]
    key = record_bytes.printable(record_bytes.text(message.key()) or "null")
    yield Text(
        f"{message.topic()}[{message.partition()}]@{message.offset()}  {output.moment(_at(message))}  key {key}"
        + ("" if schema is None else f"  schema {schema}"),
        style="bold",
    )
    headers = message.headers()
    if headers:
        yield Text(f"  headers {record_bytes.headers_text(headers)}")
    indented = record_bytes.value_text(value).replace("\n", "\n  ")
    yield Text(f"  {indented}")
    yield Text("")
