"""`pdp topics`, `pdp lag` and `pdp peek`: what Kafka holds, how far the sink is behind, and single records.

These only look and never join the sink's group; changing offsets is `pdp.commands.offsets`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pdp import arguments, output, record_bytes
from pdp.arguments import AnyDomainName, ArgumentError
from pdp.environment import Platform
from pdp.output import TableColumn
from platform_core.counted import counted
from platform_kafka.records import headers_of, kafka_datetime
from platform_kafka.topics import DAY_MS, SINK_GROUP, dlq_name, parked_name, redriven_name, topic_specs

if TYPE_CHECKING:
    from platform_core.domain.catalog import Catalog
    from platform_kafka.reader import OperatorKafka
    from platform_kafka.records import Message

FOREIGN = "foreign"


def topics(platform: Platform) -> None:
    """List Kafka's topics: what they are for, what they hold, and how long."""
    from platform_kafka.reader import OperatorKafka

    kinds = _kinds(platform.catalog)
    with OperatorKafka(platform.settings) as kafka:
        names = list(kafka.topics)
        bounds = kafka.bounds([tp for name in names for tp in kafka.partitions(name)])
        retention = kafka.retention_ms(names)
    order = {name: number for number, name in enumerate(kinds)}
    rows: list[dict[str, Any]] = []
    for name in sorted(names, key=lambda name: (order.get(name, len(order)), name)):
        held = [bounds[tp] for tp in bounds if tp[0] == name]
        totals = {what: sum(getattr(each, what) for each in held) for what in ("records", "begin", "end")}
        kind = kinds.get(name, FOREIGN)
        rows.append({"topic": name, "kind": kind, "partitions": len(held), **totals, "retention_ms": retention[name]})
    missing = [name for name in kinds if name not in names]
    output.answer(
        {"topics": rows, "missing": missing},
        output.table(
            rows,
            "topic",
            "kind",
            "partitions",
            "records",
            "begin",
            "end",
            TableColumn("retention", "retention_ms", _days),
        ),
        notes=[f"Missing: {arguments.quoted(missing)}. `python -m producers provision` creates them."] * bool(missing),
    )


def lag(platform: Platform, domain: AnyDomainName = None) -> None:
    """Show how far the sink is behind, by partition, and whether it runs."""
    from pdp.actions import group_offsets
    from platform_kafka.reader import OperatorKafka

    topics = [each.topic.name for each in arguments.domains(platform.catalog, domain)]
    with OperatorKafka(platform.settings) as kafka:
        group = kafka.group(SINK_GROUP)
        rows = [output.record(each, "lag", "dropped") for each in group_offsets.lags(kafka, topics)]
    total = sum(row["lag"] for row in rows)
    oldest = min((row["oldest_at"] for row in rows if row["oldest_at"]), default=None)
    members = [
        {"client_id": m.client_id, "host": m.host, "partitions": len(m.assignment.topic_partitions)}
        for m in group.members
    ]
    who = ", ".join(f"{m['client_id']}@{str(m['host']).lstrip('/')} ({m['partitions']})" for m in members)
    output.answer(
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
            TableColumn("committed", show=output.number_or_none),
            "end",
            "lag",
            TableColumn("oldest unread", "oldest_at", _age),
        ),
        Text(f"{counted(total, 'record')} behind" + (f", the oldest waits for {_age(oldest)}" if oldest else "")),
        Text(f"group {group.name}: {group.state}, {who or 'no member'}"),
        notes=[
            f"`{row['topic']}` partition {row['partition']}: retention has dropped {counted(row['dropped'], 'offset')}"
            " before the sink read them. Produce the records again from their source."
            for row in rows
            if row["dropped"]
        ],
    )


def peek(
    platform: Platform,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="A topic, see `pdp topics`")],
    partition: Annotated[int | None, typer.Option("--partition", min=0, help="Only this partition")] = None,
    offset: Annotated[int | None, typer.Option("--offset", min=0, help="Start at this offset")] = None,
    from_end: Annotated[
        int | None, typer.Option("--from-end", min=1, metavar="N", help="Start N offsets before each partition's end")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Records to show")] = 10,
) -> None:
    """Show records of a topic: offset, time, key, headers and value; the newest without an offset."""
    from platform_kafka.reader import OperatorKafka

    if offset is not None and from_end is not None:
        raise ArgumentError("`--offset` and `--from-end` exclude each other: choose one.")
    with OperatorKafka(platform.settings) as kafka:
        arguments.one_of("topic", topic, list(kafka.topics))
        shown = _records(kafka, topic, partition, offset, from_end, limit)
    output.answer(
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
            has = counted(len(partitions), "partition")
            raise ArgumentError(f"`{topic}` has {has}, the first is 0; there is no {partition}.")
        partitions = [(topic, partition)]
    bounds = kafka.bounds(partitions)
    if offset is not None:
        if len(partitions) > 1:
            raise ArgumentError(f"An offset needs its partition: `{topic}` has {len(partitions)}. Add `--partition`.")
        (tp,) = partitions
        if not bounds[tp].begin <= offset < bounds[tp].end:
            raise ArgumentError(
                f"`{topic}` partition {tp[1]} holds the offsets from {bounds[tp].begin} to before"
                f" {bounds[tp].end}; {offset} is not among them."
            )
    back = from_end or limit
    starts = {tp: max(b.begin, b.end - back) if offset is None else offset for tp, b in bounds.items()}
    messages = kafka.read(starts, {tp: bounds[tp].end for tp in partitions})
    if offset is not None:
        return list(islice(messages, limit))
    records = sorted(messages, key=lambda message: (message.timestamp()[1], message.partition(), message.offset()))
    return records[:limit] if from_end is not None else records[-limit:]


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


def _document(message: Message) -> dict[str, Any]:
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "at": kafka_datetime(message),
        **record_bytes.record_document(message),
    }


def _lines(message: Message) -> Iterator[Text]:
    value = message.value()
    schema_id = record_bytes.value_document(value)["schema_id"]
    schema = "" if schema_id is None else f"  schema {schema_id}"
    at = output.moment(kafka_datetime(message))
    yield Text(f"{message.topic()}[{message.partition()}]@{message.offset()}  {at}{schema}", style="bold")
    yield from record_bytes.record_lines(message.key(), headers_of(message) or (), record_bytes.value_text(value))
