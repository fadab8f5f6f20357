"""Bytes to a typed record, or to a refusal with its reason; never an exception, never what Arrow refuses.

The reasons are in `platform_kafka.formats.refusal_reason`. What happens to a refused record belongs to
`sink.refusals.dead_letters`; docs/operations.md says what each reason means to the person on call.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from platform_core.domain.catalog import Domain
from platform_core.domain.contract import Column, ColumnType
from platform_kafka.formats.refusal_reason import RefusalReason
from platform_kafka.formats.wire_format import HEADER_BYTES, schema_id_of
from sink.records.record_struct import record_struct


class Record(Struct, gc=False):
    """A record that keeps the contract.

    Attributes:
        values: One value for each contract column, in its order: timestamps in UTC, decimals and nested
            values as text.
        key: The Kafka key as text; bytes that are not UTF-8 are written with backslashes.
        schema_id: Registry id of the writer's schema, None for plain JSON.
        extra: Fields that the contract does not know, as JSON text.
    """

    values: list[Any]
    day: date
    key: str
    schema_id: int | None
    extra: str | None


class Refusal(Struct, gc=False):
    """Why a record cannot become a row.

    Attributes:
        reason: The class of the error.
        message: The JSON path and what is wrong there.
        schema_id: Registry id of the writer's schema, if it could be read.
    """

    reason: RefusalReason
    message: str
    schema_id: int | None = None


class Decoder:
    """Decodes the values of one domain's topic.

    Args:
        max_record_bytes: A larger value is refused.
        max_future: A record dated later than now plus this is refused.
    """

    def __init__(self, domain: Domain, max_record_bytes: int, max_future: timedelta) -> None:
        columns = domain.contract.columns
        self._max_record_bytes = max_record_bytes
        self._max_future = max_future
        self._start_date = domain.start_date
        self._timestamp_name = domain.bronze.timestamp_col
        self._names = frozenset(column.name for column in columns)
        self._decode_known = _values_decoder(domain.name, columns, forbid_unknown_fields=True)
        self._decode_lenient = _values_decoder(domain.name, columns, forbid_unknown_fields=False)
        self._decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
        self._encode = msgspec.json.Encoder().encode
        by_position = list(enumerate(columns))
        self._timestamp = next(i for i, c in by_position if c.name == self._timestamp_name)
        self._timestamps = [(i, c.name) for i, c in by_position if c.type is ColumnType.TIMESTAMP]
        self._versions = [
            (i, c.name) for i, c in by_position if c.name in domain.silver.order_by and c.type is ColumnType.TIMESTAMP
        ]
        self._integers = [c.name for c in columns if c.type is ColumnType.INTEGER]
        self._nested = [(i, c) for i, c in by_position if c.type.is_nested]
        self._scalars = [(i, c) for i, c in by_position if c.any_scalar]

    def decode(self, key: bytes | None, value: bytes | None, now: datetime) -> Record | Refusal:
        """Return the typed record, or why there is none.

        Args:
            key: The Kafka key.
            value: The Kafka value: Confluent's wire format, or JSON.
            now: The current time, UTC.
        """
        if not value:
            return Refusal(
                RefusalReason.EMPTY_VALUE, "The value is null." if value is None else "The value has 0 bytes."
            )
        if len(value) > self._max_record_bytes:
            return Refusal(
                RefusalReason.TOO_LARGE,
                f"The value has {len(value)} bytes; `SINK_MAX_RECORD_BYTES` allows {self._max_record_bytes}.",
                schema_id_of(value),
            )
        if not key:
            return Refusal(RefusalReason.MISSING_KEY, "The Kafka key is null or empty.", schema_id_of(value))
        body: bytes | memoryview = value
        schema_id = None
        first = value[0]
        if first < 0x20 and first not in b"\t\n\r":
            schema_id = schema_id_of(value)
            if schema_id is None:
                return Refusal(
                    RefusalReason.INVALID_WIRE_FORMAT,
                    f"The value begins with byte {first}: neither `{{` nor byte 0, a schema id above 0 in"
                    " four bytes and JSON.",
                )
            body = memoryview(value)[HEADER_BYTES:]
        try:
            return self._typed(key, body, schema_id, now)
        except RefusedError as refused:
            return Refusal(refused.reason, refused.message, schema_id)
        except msgspec.ValidationError as error:
            return Refusal(RefusalReason.CONTRACT_VIOLATION, _with_path(str(error)), schema_id)
        except msgspec.DecodeError as error:
            if (half := _lone_surrogate(body)) is not None:
                return Refusal(
                    RefusalReason.INVALID_UTF8,
                    f"`{half}` is half of a surrogate pair, which is no character.",
                    schema_id,
                )
            return Refusal(RefusalReason.MALFORMED_JSON, str(error), schema_id)
        except UnicodeDecodeError as error:
            return Refusal(RefusalReason.INVALID_UTF8, f"The JSON text is not UTF-8: {error.reason}.", schema_id)
        except ValueError as error:  # of the second parser, should it be stricter than the first
            return Refusal(RefusalReason.MALFORMED_JSON, str(error), schema_id)
        except RecursionError:
            return Refusal(RefusalReason.MALFORMED_JSON, "The JSON text is nested too deep.", schema_id)

    def _typed(self, key: bytes, body: bytes | memoryview, schema_id: int | None, now: datetime) -> Record:
        extra, reread = None, False
        try:
            values, names = self._decode_known(body)
        except msgspec.ValidationError:
            slowly = self._decode_slowly(body)
            if slowly is None:
                raise
            (values, names), extra = slowly
            reread = True
        for i, column in self._nested:
            values[i] = nested = _nested_text(column, values[i])
            if nested is not None and '"' in nested:
                names += nested.count('":')
                if _may_have_doubled_names(nested):
                    _refuse_doubled_names(nested, f"$.{column.name}")
        # The last of two fields would win in silence. Only what may have two is parsed a second time.
        text = bytes(body)
        if reread or text.count(b'":') != names or _SPACE_AFTER_STRING(text):
            _refuse_doubled_names(text, "$")
        for i, column in self._scalars:
            values[i] = scalar_text(column, values[i])
        for i, name in self._timestamps:
            moment = values[i]
            if moment is not None and moment.tzinfo is not UTC:
                try:
                    values[i] = moment.astimezone(UTC)
                except OverflowError:
                    raise RefusedError(
                        RefusalReason.CONTRACT_VIOLATION,
                        f"The time in UTC is outside the years 1 to 9999 - at `$.{name}`",
                    ) from None
        moment = values[self._timestamp]
        day = moment.date()
        if day < self._start_date or moment - now > self._max_future:
            raise RefusedError(
                RefusalReason.TIMESTAMP_OUT_OF_RANGE,
                f"{moment.isoformat()} is before {self._start_date}, the domain's start date, or more than"
                f" {self._max_future} after now (`SINK_MAX_FUTURE_HOURS`) - at `$.{self._timestamp_name}`",
            )
        for i, name in self._versions:
            if values[i] is not None and values[i] - now > self._max_future:
                raise RefusedError(
                    RefusalReason.TIMESTAMP_OUT_OF_RANGE,
                    f"{values[i].isoformat()} is more than {self._max_future} after now (`SINK_MAX_FUTURE_HOURS`); the"
                    f" latest wins, and nothing would ever be later - at `$.{name}`",
                )
        return Record(values, day, key_text(key), schema_id, extra)

    def _decode_slowly(self, body: bytes | memoryview) -> tuple[tuple[list[Any], int], str | None] | None:
        """Return the decoded fields and the text of the unknown ones of a record that is newer or writes 1.0 for 1.

        None stands for a record that is wrong. Telling them apart costs a second parse, which other records never pay.
        The fields come with their number, see `_values_decoder`.
        """
        fields = self._decode_fields(body)
        integers = {
            name: msgspec.Raw(integer)
            for name in self._integers
            if (integer := _integer_of(fields.get(name))) is not None
        }
        unknown = {name: raw for name, raw in fields.items() if name not in self._names}
        if not unknown and not integers:
            return None
        decoded = self._decode_lenient(self._encode(fields | integers))
        return decoded, self._encode(unknown).decode() if unknown else None


def key_text(key: bytes) -> str:
    """Return a Kafka key as Bronze writes it: bytes that are not UTF-8 with backslashes."""
    return key.decode("utf-8", "backslashreplace")


class RefusedError(Exception):
    """A record is refused: what `Decoder.decode` returns as a `Refusal`."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def _nested_text(column: Column, raw: Raw | None) -> str | None:
    # msgspec checks the syntax of what it skips but not its encoding; `str` does that.
    text = None if raw is None else str(memoryview(raw), "utf-8")
    if text is None or text == "null":
        if column.nullable:
            return None
        text = "null"
    if text[0] != ("{" if column.type is ColumnType.JSON_OBJECT else "["):
        raise RefusedError(RefusalReason.CONTRACT_VIOLATION, f"Expected `{column.type}` - at `$.{column.name}`")
    return text


def scalar_text(column: Column, raw: Raw | None) -> str | None:
    """Return the text of a string, a number or a boolean, None for null.

    Raises:
        RefusedError: it is an object or an array.
    """
    text = None if raw is None else str(memoryview(raw), "utf-8")
    if text is None or text == "null":
        return None
    if text[0] in "{[":
        raise RefusedError(
            RefusalReason.CONTRACT_VIOLATION, f"Expected `string | number | boolean | null` - at `$.{column.name}`"
        )
    return msgspec.json.decode(text, type=str) if text[0] == '"' else text


def _integer_of(raw: Raw | None) -> bytes | None:
    """The digits of a number that JSON Schema calls an integer and that is not written as one: 1.0 or 1e2."""
    text = b"" if raw is None else bytes(raw)
    if not _FRACTION.fullmatch(text):
        return None
    number = Decimal(text.decode())
    if number.copy_abs() > 2**63 or number != number.to_integral_value():
        return None
    return str(int(number)).encode()


def _refuse_doubled_names(text: bytes | str, path: str) -> None:
    """Refuse a JSON text of which an object, at any depth, has a name twice."""

    def keep(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            doubled = next(name for name, count in Counter(names).items() if count > 1)
            raise RefusedError(RefusalReason.MALFORMED_JSON, f"The name is there twice - at `{path}.{doubled[:100]}`")

    json.loads(text, object_pairs_hook=keep, parse_int=str, parse_float=str)


def _may_have_doubled_names(text: str) -> bool:
    """Tell whether a nested value is worth a second parse: all but flat objects whose names are seen to differ."""
    if "\\" in text:
        return True
    braces = text.count("{")
    if braces <= 1:
        objects = [text]
    else:
        objects = _FLAT_OBJECT.findall(text)
        # Each piece is one object if no brace is within a string: a string that was cut leaves an odd number of quotes.
        quotes = [each.count('"') for each in objects]
        if braces != len(objects) or any(n % 2 for n in quotes) or sum(quotes) != text.count('"'):
            return True
    for each in objects:
        names = _NAMES(each)
        if len(names) > len(set(names)):
            return True
    return False


def _lone_surrogate(body: bytes | memoryview) -> str | None:
    halves = (match[1] for match in _ESCAPES.finditer(body) if match[1] is not None)
    return next((half.decode() for half in halves), None)


# What is a pair or another escape is passed over, so that the group is a half that stands alone.
_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
# What may stand between a name and its colon: then names are not counted by `":`.
_SPACE_AFTER_STRING = re.compile(rb'"[ \t\n\r]').search
_FLAT_OBJECT = re.compile(r"\{[^{}]*\}")
_NAMES = re.compile(r'"([^"]*)"\s*:').findall
_FRACTION = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,9})?")
_MISSING = "Object missing required field `"


def _with_path(message: str) -> str:
    if " - at `$" in message:
        return message
    if message.startswith(_MISSING):
        return f"{message} - at `$.{message.removeprefix(_MISSING)[:-1]}`"
    return f"{message} - at `$`"


def _values_decoder(
    domain: str, columns: tuple[Column, ...], *, forbid_unknown_fields: bool
) -> Callable[[bytes | memoryview], tuple[list[Any], int]]:
    """Return a decoder of a JSON object to a value for each column, and to the number of columns that are there."""
    struct = record_struct(domain, columns, forbid_unknown_fields=forbid_unknown_fields)
    decode, astuple = msgspec.json.Decoder(struct).decode, msgspec.structs.astuple
    count = len(columns)

    def values(body: bytes | memoryview) -> tuple[list[Any], int]:
        fields = list(astuple(decode(body)))
        if not (absent := fields.count(UNSET)):
            return fields, count
        return [None if field is UNSET else field for field in fields], count - absent

    return values
