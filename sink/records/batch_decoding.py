"""The messages of one poll to rows and refusals: ordinary ones hundreds at a time, odd ones each by itself.

What a record must be is said by `sink.records.decoding` alone, and hundreds of messages become what it makes of each:
whatever might be odd is left to it. On one busy machine a message by itself took 8.8 µs, one of a hundred 2.1, one of
five hundred 1.6; more at once no longer fit into the processor's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import msgspec
import numpy as np
from msgspec import UNSET

from platform_core.domain.catalog import Domain
from platform_core.domain.contract import Column, ColumnType
from platform_kafka.formats.wire_format import HEADER_BYTES, schema_id_of
from platform_kafka.records import LATEST_MICROSECONDS, Message, kafka_timestamp
from sink.records.decoding import Decoder, Refusal, RefusedError, key_text, scalar_text
from sink.records.record_struct import record_struct
from sink.records.rows import Rows

CHUNKS_MESSAGES = (500, 100)
"""So many are decoded at once; where one is odd, each hundred of them, and of that hundred each by itself."""


class _MaybeOddError(Exception):
    """A chunk has a record that must be decoded by itself."""


@dataclass(eq=False)
class DecodedMessages:
    """What the messages of one topic are.

    Attributes:
        by_day: The rows of each date, in order of arrival.
        refused: The messages that are none, and why.
        reasons: For each message, in order, the class of its error; None for a row.
        size: Bytes of all their values.
    """

    by_day: dict[date, Rows] = field(default_factory=dict)
    refused: list[tuple[Message, Refusal]] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    size: int = 0

    def add(self, by_day: Mapping[date, Rows]) -> None:
        """Add rows of one or several dates."""
        for day, rows in by_day.items():
            self.reasons += [None] * len(rows)
            self.size += sum(rows.sizes)
            self.by_day.setdefault(day, Rows()).extend(rows)

    def refuse(self, message: Message, refusal: Refusal) -> None:
        """Add a message that is no row."""
        self.reasons.append(refusal.reason)
        self.size += len(message.value() or b"")
        self.refused.append((message, refusal))


class BatchDecoder:
    """Decodes the messages of one domain's topic.

    Args:
        max_record_bytes: A larger value is refused.
        max_future: A record dated later than now plus this is refused.
    """

    def __init__(self, domain: Domain, max_record_bytes: int, max_future: timedelta) -> None:
        columns = domain.contract.columns
        self._decoder = Decoder(domain, max_record_bytes, max_future)
        self._max_record_bytes = max_record_bytes
        self._max_future = max_future
        self._start_date = domain.start_date
        struct = record_struct(domain.name, columns, forbid_unknown_fields=True)
        self._decode_lines = msgspec.json.Decoder(struct).decode_lines
        by_position = list(enumerate(columns))
        self._nullable = [i for i, column in by_position if column.nullable]
        self._nested = [(i, column, _nested_decoder(column)) for i, column in by_position if column.type.is_nested]
        self._scalars = [(i, column) for i, column in by_position if column.any_scalar]
        self._timestamps = [i for i, column in by_position if column.type is ColumnType.TIMESTAMP]
        self._timestamp = next(i for i, column in by_position if column.name == domain.bronze.timestamp_col)
        versions = [i for i in self._timestamps if columns[i].name in domain.silver.order_by]
        self._versions = [i for i in versions if i != self._timestamp]  # which is looked at anyhow

    def decode(self, messages: Sequence[Message], now: datetime) -> DecodedMessages:
        """Return the rows and the refusals.

        Args:
            now: The current time, UTC.
        """
        decoded = DecodedMessages()
        self._in_chunks(messages, now, decoded, CHUNKS_MESSAGES)
        return decoded

    def _in_chunks(
        self, messages: Sequence[Message], now: datetime, decoded: DecodedMessages, sizes: Sequence[int]
    ) -> None:
        """Decode in chunks of the first size, and each that may have an odd message in those of the next."""
        if not sizes:
            self._one_by_one(messages, now, decoded)
            return
        for start in range(0, len(messages), sizes[0]):
            chunk = messages[start : start + sizes[0]]
            try:
                by_day = self._together(chunk, now)
            except (_MaybeOddError, RefusedError, msgspec.DecodeError, ValueError, OverflowError, RecursionError):
                self._in_chunks(chunk, now, decoded, sizes[1:])
            else:
                decoded.add(by_day)

    def _one_by_one(self, messages: Sequence[Message], now: datetime, decoded: DecodedMessages) -> None:
        for message in messages:
            key, value = message.key(), message.value()
            record = self._decoder.decode(key, value, now)
            if isinstance(record, Refusal):
                decoded.refuse(message, record)
                continue
            origin = message.partition(), message.offset(), kafka_timestamp(message)
            decoded.add({record.day: Rows.of_record(*origin, record, len(value or b""))})

    def _together(self, messages: Sequence[Message], now: datetime) -> dict[date, Rows]:
        keys = [key for message in messages if (key := message.key())]
        values = [value for message in messages if (value := message.value())]
        sizes = list(map(len, values))
        if not len(keys) == len(values) == len(messages) or max(sizes) > self._max_record_bytes:
            raise _MaybeOddError
        schema_id, text = _lines(values)
        columns = self._columns(text, len(messages))
        first, last = self._dates(columns, now)
        rows = Rows(
            partitions=[message.partition() for message in messages],
            offsets=[message.offset() for message in messages],
            timestamps=_timestamps(messages),
            keys=_key_texts(keys),
            schema_ids=[schema_id] * len(messages),
            extras=[None] * len(messages),
            sizes=sizes,
            values=columns,
        )
        if first == last:  # as in all but a few chunks of a day: a date for each record costs 0.05 µs
            return {first: rows}
        numbers: dict[date, list[int]] = {}
        for number, moment in enumerate(columns[self._timestamp]):
            numbers.setdefault(moment.date(), []).append(number)
        return {day: rows.pick(of_day) for day, of_day in numbers.items()}

    def _columns(self, text: bytes, count: int) -> list[list[Any]]:
        """Return the records' values by column."""
        records = self._decode_lines(text)
        if len(records) != count:  # one had two records; two of one would have no line break between braces
            raise _MaybeOddError
        columns = [list(column) for column in zip(*map(msgspec.structs.astuple, records), strict=True)]
        names = len(records) * len(columns)
        for i in self._nullable:
            if absent := columns[i].count(UNSET):
                names -= absent
                columns[i] = [None if value is UNSET else value for value in columns[i]]
        for i, column, decode in self._nested:
            columns[i], inner = _nested_texts(column, columns[i], decode)
            names += inner
        _refuse_doubled_names(text, names)
        for i, column in self._scalars:
            columns[i] = [scalar_text(column, value) for value in columns[i]]
        for i in self._timestamps:
            columns[i] = [m if m is None or m.tzinfo is UTC else m.astimezone(UTC) for m in columns[i]]
        return columns

    def _dates(self, columns: Sequence[Sequence[Any]], now: datetime) -> tuple[date, date]:
        """Return the first and the last date of records, none of which is dated too early or too late."""
        latest = now + self._max_future
        first, last = min(columns[self._timestamp]), max(columns[self._timestamp])
        if first.date() < self._start_date or last > latest:
            raise _MaybeOddError
        if any(moment is not None and moment > latest for i in self._versions for moment in columns[i]):
            raise _MaybeOddError
        return first.date(), last.date()


def _lines(values: list[bytes]) -> tuple[int | None, bytes]:
    """Return the schema id of values that share one, and a line for each of their JSON objects."""
    bodies = values
    schema_id = schema_id_of(values[0])
    if schema_id is not None:
        header = values[0][:HEADER_BYTES]
        if [value[:HEADER_BYTES] for value in values].count(header) != len(values):
            raise _MaybeOddError
        bodies = [value[HEADER_BYTES:] for value in values]
    # No JSON text has a `}` and a `{` with nothing but a line break between them, and no string has a line break. So
    # each line break ends a record, and none of a wrong record goes on in the next line.
    text = b"\n".join(bodies)
    characters = np.frombuffer(text, np.uint8)
    breaks = np.flatnonzero(characters == ord("\n"))  # 0.02 µs a record, a look at each record's ends 0.1
    if len(breaks) != len(bodies) - 1 or text[:1] != b"{" or text[-1:] != b"}":
        raise _MaybeOddError
    if (characters[breaks - 1] != ord("}")).any() or (characters[breaks + 1] != ord("{")).any():
        raise _MaybeOddError
    return schema_id, text


def _key_texts(keys: list[bytes]) -> list[str]:
    """Return what `key_text` makes of each; all at once costs a quarter."""
    with suppress(UnicodeDecodeError):
        texts = b"\n".join(keys).decode().split("\n")
        if len(texts) == len(keys):  # no key has a line break
            return texts
    return list(map(key_text, keys))


def _timestamps(messages: Sequence[Message]) -> list[int | None]:
    """Return what `kafka_timestamp` makes of each; all at once costs half."""
    stamps = [message.timestamp() for message in messages]
    moments = [milliseconds * 1000 for kind, milliseconds in stamps if kind]
    if len(moments) == len(stamps) and min(moments) >= 0 and max(moments) <= LATEST_MICROSECONDS:
        return cast("list[int | None]", moments)
    return list(map(kafka_timestamp, messages))


def _refuse_doubled_names(text: bytes, names: int) -> None:
    """Raise unless the JSON text has so many names, none of them twice in an object."""
    # There is a `":` for each name, or whitespace before its colon. With as many of them as different names, none is
    # there twice. numpy counts in 0.15 µs a record of 300 bytes what `bytes.count` and `in` do in 0.75.
    characters = np.frombuffer(text, np.uint8)
    before, colons = characters[:-1], characters[1:] == ord(":")
    if np.count_nonzero(colons & (before == ord('"'))) != names or np.count_nonzero(colons & (before <= ord(" "))):
        raise _MaybeOddError


def _nested_decoder(column: Column) -> msgspec.json.Decoder[Any]:
    container: Any = dict[str, Any] if column.type is ColumnType.JSON_OBJECT else list[Any]
    return msgspec.json.Decoder(container | None if column.nullable else container)


def _nested_texts(
    column: Column, raws: Sequence[Any], decoder: msgspec.json.Decoder[Any]
) -> tuple[list[str | None], int]:
    """Return nested values as they were written, and how many names are in them, each counted once an object."""
    text = b"\n".join([b"null" if raw is None else raw for raw in raws] if column.nullable else raws)
    documents = decoder.decode_lines(text)
    texts: list[str | None] = list(text.decode().split("\n"))
    if column.nullable:
        texts = [None if each == "null" else each for each in texts]
    elif column.type is ColumnType.JSON_OBJECT and text.count(b"{") == len(documents):
        return texts, sum(map(len, documents))  # no object is within another: a third of the time
    return texts, _names(documents)


def _names(value: Any) -> int:
    if type(value) is dict:
        return len(value) + sum(map(_names, value.values()))
    return sum(map(_names, value)) if type(value) is list else 0
