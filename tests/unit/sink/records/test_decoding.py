from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.contract import ColumnType, load_contract
from platform_kafka.formats.refusal_reason import RefusalReason
from sink.bronze.arrow import to_table
from sink.records.decoding import Decoder, Record, Refusal, _may_have_doubled_names
from tests.rigs.sink.samples import EVENT, NOW, ORDER, encoded, rows_of

ABSENT_AT_WILL = ("city", "restaurant_id", "order_id")
CITIES = st.sampled_from([None, "Paris", '"city":', '"city" :', " ", '\\":', "a\n:"])

WIRE = b"\x00\x00\x00\x00\x2a"


@pytest.fixture(scope="session")
def decoders(catalog):
    return {domain.name: Decoder(domain, 2_000, timedelta(hours=24)) for domain in catalog}


@pytest.fixture(scope="session")
def decode(decoders):
    def decode(value: bytes | None, key: bytes | None = b"7", domain: str = "events") -> Record | Refusal:
        return decoders[domain].decode(key, value, NOW)

    return decode


def cell(catalog, domain: str, record: Record, column: str):
    """The value of one column as a reader of the file sees it."""
    assert isinstance(record, Record), record
    contract = catalog[domain].contract
    return to_table(contract, bronze_schema(contract), "t", rows_of((0, 0, record)), NOW).to_pylist()[0][column]


def test_wire_format_and_plain_json_give_the_same_record(decode):
    wire, plain = decode(WIRE + encoded(EVENT)), decode(encoded(EVENT))
    assert (wire.schema_id, plain.schema_id) == (42, None)
    assert wire.values == plain.values and wire.day == date(2026, 3, 1) and wire.extra is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00.123456Z", datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-01T00:30:00+05:30", datetime(2026, 2, 28, 19, tzinfo=UTC)),
        ("2026-03-01T23:30:00-0200", datetime(2026, 3, 2, 1, 30, tzinfo=UTC)),
        ("2026-03-01 10:00:00+00:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
    ],
)
def test_a_time_with_any_offset_is_utc_and_decides_the_date(decode, catalog, text, expected):
    record = decode(encoded(EVENT, event_timestamp=text))
    assert cell(catalog, "events", record, "event_timestamp") == expected
    assert record.day == expected.date()


@pytest.mark.parametrize("text", ["0.00", "-0.01", "9999999999.99", "-9999999999.99", "12.5", "12", "0012.50"])
def test_a_decimal_is_exact(decode, catalog, text):
    record = decode(encoded(ORDER, subtotal=text), domain="orders")
    assert cell(catalog, "orders", record, "subtotal") == Decimal(text)


@given(st.lists(st.none() | st.datetimes(timezones=st.just(UTC)), min_size=1))
def test_times_are_what_arrow_makes_of_them(catalog, times):
    contract = catalog["orders"].contract
    rows = rows_of(
        *((0, n, Record([None] * len(contract.columns), NOW.date(), "k", None, None)) for n in range(len(times)))
    )
    names = [column.name for column in contract.columns]
    rows.values[names.index("updated_at")] = times
    table = to_table(contract, bronze_schema(contract), "t", rows, NOW)
    assert table["updated_at"].combine_chunks().equals(pa.array(times, pa.timestamp("us", "UTC")))


@pytest.mark.parametrize("number", [-(2**63), 2**63 - 1, 0])
def test_an_integer_has_64_bits(decode, catalog, number):
    assert cell(catalog, "events", decode(encoded(EVENT, user_id=number)), "user_id") == number


def test_nested_values_stay_the_text_that_was_sent(decode, catalog):
    value = encoded(EVENT).replace(b'{"query":"pizza"}', b'{"q" : 1.10, "p":"\\u00e9",  "z":{"a":[1e2]}}')
    assert cell(catalog, "events", decode(value), "properties") == '{"q" : 1.10, "p":"\\u00e9",  "z":{"a":[1e2]}}'


def test_fields_that_the_contract_does_not_know_are_kept_in_extra(decode):
    value = encoded(EVENT, app_version="1.2", ratio=...)[:-1] + b',"ratio":1.50,"deep":{"a": [1]}}'
    record = decode(value)
    assert record.extra == '{"app_version":"1.2","ratio":1.50,"deep":{"a": [1]}}'
    assert record.values == decode(encoded(EVENT)).values


@pytest.mark.parametrize("text", ["7.0", "7e0", "0.7e1", "70e-1", "7." + "0" * 100])
def test_an_integer_may_be_written_with_a_point_as_json_schema_says(decode, catalog, text):
    value = encoded(EVENT, user_id="@").replace(b'"@"', text.encode())
    assert cell(catalog, "events", decode(value), "user_id") == 7
    assert decode(value).extra is None
    assert cell(catalog, "events", decode(value[:-1] + b',"new":1.0}'), "user_id") == 7


@pytest.mark.parametrize("text", ["7.5", "1e400", "1e-400", "-1e999999999", "1e-999999999", "9223372036854775808.0"])
def test_what_json_schema_calls_no_integer_of_64_bits_is_refused(decode, text):
    refusal = decode(encoded(EVENT, user_id="@").replace(b'"@"', text.encode()))
    assert refusal.reason is RefusalReason.CONTRACT_VIOLATION and "`$.user_id`" in refusal.message


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (b'"user_id":8', "user_id"),
        (b'"user_id":7', "user_id"),
        (b'"user\\u005fid":8', "user_id"),
        (b'"new":1,"new":2', "new"),
        (b'"new":1,"n\\u0065w":2', "new"),
    ],
)
def test_a_name_that_is_there_twice_is_refused(decode, field, name):
    refusal = decode(encoded(EVENT)[:-1] + b"," + field + b"}")
    assert refusal.reason is RefusalReason.MALFORMED_JSON and f"`$.{name}`" in refusal.message


def encoded_text(value: object) -> bytes:
    return json.dumps(value).encode()


def with_properties(properties: bytes) -> bytes:
    value = encoded(EVENT)
    assert value.count(b'{"query":"pizza"}') == 1
    return value.replace(b'{"query":"pizza"}', properties)


@pytest.mark.parametrize(
    "properties",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"b":2,"a":{}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":{"b":1},"a":2}',
        b'{"a":[{"b":1},{"b":1,"c":3,"b":2}]}',
        b'{"a":"}{","a":1}',
        b'{"a":"x:","a":":"}',
        b'{"a":"{}","b":1,"a":"\\""}',
        b'{"":1,"":2}',
        b'{ "a" : "y" , "a" : "y" }',
    ],
)
def test_a_name_that_is_there_twice_within_a_value_is_refused_with_its_path(decode, properties):
    refusal = decode(with_properties(properties))
    assert isinstance(refusal, Refusal), refusal
    assert refusal.reason is RefusalReason.MALFORMED_JSON and "twice - at `$.properties." in refusal.message


@pytest.mark.parametrize(
    "properties",
    [
        b'{"a":{"b":1},"b":{"a":1}}',
        b'{"a":[{"b":1},{"b":1}]}',
        b'{"a":"{\\"a\\":1}"}',
        b'{"a":"}{","b":"a"}',
        b'{"a":"a\\": 1","b":2}',
        b'{"a":"b","b":"a:"}',
        b"{}",
    ],
)
def test_a_name_that_is_in_two_objects_is_not_there_twice(decode, properties):
    decoded = decode(with_properties(properties))
    assert properties.decode() in decoded.values


@given(st.text('{}[]":,ab\\ ', max_size=14))
@settings(max_examples=300, deadline=None)
def test_no_doubled_name_is_missed(inner: str) -> None:
    text = '{"a":"' + inner + '","b":1,"a":2}'
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except ValueError:
        return
    names = [name for name, _ in pairs]
    assert _may_have_doubled_names(text) or len(names) == len(set(names))


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_doubled_name_is_refused_however_the_record_is_written(decode, data):
    """Fields left out, spaces at any place, escapes in names, and values that look like names hide none."""
    names = [name for name in EVENT if name not in ABSENT_AT_WILL or data.draw(st.booleans())]
    doubled = data.draw(st.lists(st.sampled_from(names), max_size=2))
    space = st.sampled_from([b"", b"", b" ", b"\n", b"\t"])
    fields = []
    for name in data.draw(st.permutations([*names, *doubled])):
        written = data.draw(st.sampled_from([encoded_text(name), encoded_text(name).replace(b"_", b"\\u005f")]))
        value = encoded_text(data.draw(CITIES) if name == "city" else EVENT[name])
        fields.append(data.draw(space).join([b"", written, b":", value, b""]))
    decoded = decode(b"{" + b",".join(fields) + b"}")
    assert isinstance(decoded, Refusal if doubled else Record), decoded


def test_a_name_within_a_value_is_not_there_twice(decode):
    for properties in ({"user_id": 1}, {"query": '"user_id":"user_id"'}):
        assert isinstance(decode(encoded(EVENT, properties=properties)), Record)
    assert isinstance(decode(json.dumps({**EVENT, "city": "München"}).encode()), Record)


@pytest.mark.parametrize("half", ["\\ud800", "\\udc00x", "\\uD800\\u0041", "\\ud83d\\ude00\\udfff"])
@pytest.mark.parametrize("field", ["city", "new"])
def test_half_of_a_surrogate_pair_is_named(decode, half, field):
    refusal = decode(encoded(EVENT, **{field: "@"}).replace(b"@", half.encode()))
    assert refusal.reason is RefusalReason.INVALID_UTF8 and "surrogate" in refusal.message


def test_a_whole_pair_and_an_escaped_backslash_are_characters(decode, catalog):
    value = encoded(EVENT, city="@").replace(b"@", rb"\ud83d\ude00\\ud800")
    assert cell(catalog, "events", decode(value), "city") == "\U0001f600\\ud800"
    cut = decode(value[:-1])
    assert cut.reason is RefusalReason.MALFORMED_JSON and "truncated" in cut.message


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59.999999Z", "2026-03-03T12:00:01Z"])
def test_a_version_that_nothing_could_follow_is_refused(decode, text):
    refusal = decode(encoded(ORDER, updated_at=text), domain="orders")
    assert refusal.reason is RefusalReason.TIMESTAMP_OUT_OF_RANGE
    assert "`$.updated_at`" in refusal.message and "SINK_MAX_FUTURE_HOURS" in refusal.message
    assert isinstance(decode(encoded(ORDER, updated_at="2026-03-03T11:59:59Z"), domain="orders"), Record)


def test_an_optional_field_may_be_absent_or_null(decode, catalog):
    for record in (decode(encoded(EVENT, city=...)), decode(encoded(EVENT, city=None))):
        assert cell(catalog, "events", record, "city") is None


def test_a_key_that_is_not_utf8_is_kept_readable(decode):
    assert decode(encoded(EVENT), key=b"\xff\x00a").key == "\\xff\x00a"


def test_a_key_that_differs_from_the_field_is_no_error(decode):
    assert decode(encoded(EVENT), key=b"999").key == "999"


@pytest.mark.parametrize(
    ("reason", "value", "names"),
    [
        (RefusalReason.EMPTY_VALUE, None, "null"),
        (RefusalReason.EMPTY_VALUE, b"", "0 bytes"),
        (RefusalReason.TOO_LARGE, encoded(EVENT, city="x" * 2_000), "2000"),
        (RefusalReason.TOO_LARGE, b"{" * 2_001, "2001"),
        (RefusalReason.INVALID_WIRE_FORMAT, b"\x00", "byte 0"),
        (RefusalReason.INVALID_WIRE_FORMAT, b"\x00\x00\x00\x00", "byte 0"),
        (RefusalReason.INVALID_WIRE_FORMAT, b"\x00\xff\xff\xff\xff{}", "byte 0"),
        (RefusalReason.INVALID_WIRE_FORMAT, b"\x01\x00\x00\x00\x01{}", "byte 1"),
        (RefusalReason.MALFORMED_JSON, b"{broken", ""),
        (RefusalReason.MALFORMED_JSON, b"not json", ""),
        (RefusalReason.MALFORMED_JSON, b"\x80\x81", ""),
        (RefusalReason.MALFORMED_JSON, WIRE, "truncated"),
        (RefusalReason.MALFORMED_JSON, encoded(EVENT) + b"{}", "trailing"),
        (RefusalReason.MALFORMED_JSON, encoded(EVENT)[:-1], ""),
        (RefusalReason.MALFORMED_JSON, encoded(EVENT, user_id="x")[:-1] + b",]", ""),
        (RefusalReason.MALFORMED_JSON, encoded(EVENT, city="@").replace(b'"@"', b"NaN"), ""),
        (RefusalReason.INVALID_UTF8, encoded(EVENT, city="@").replace(b"@", b"\xff"), "UTF-8"),
        (RefusalReason.INVALID_UTF8, encoded(EVENT).replace(b"pizza", b"\xff"), "UTF-8"),
        (RefusalReason.INVALID_UTF8, encoded(EVENT, extra="@").replace(b"@", b"\xff"), "UTF-8"),
        (RefusalReason.CONTRACT_VIOLATION, b"[1]", "`$`"),
        (RefusalReason.CONTRACT_VIOLATION, b"null", "`$`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, event_id=...), "`$.event_id`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, event_id=...)[:-1] + b',"x":1}', "`$.event_id`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, event_id=None), "`$.event_id`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, event_id=""), "`$.event_id`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, user_id="7"), "`$.user_id`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, user_id=True), "`$.user_id`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, user_id=7.5), "`$.user_id`"),
        (
            RefusalReason.CONTRACT_VIOLATION,
            encoded(EVENT, user_id="@").replace(b'"@"', str(2**63).encode()),
            "`$.user_id`",
        ),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, user_id="@").replace(b'"@"', b"9" * 400), "`$.user_id`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, user_id="@", new=1), "`$.user_id`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, properties=[]), "`$.properties`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, properties=None), "`$.properties`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, properties="{}"), "`$.properties`"),
        (
            RefusalReason.CONTRACT_VIOLATION,
            encoded(EVENT, event_timestamp="2026-03-01T10:00:00"),
            "`$.event_timestamp`",
        ),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, event_timestamp="yesterday"), "`$.event_timestamp`"),
        (RefusalReason.CONTRACT_VIOLATION, encoded(EVENT, event_timestamp=1772359200), "`$.event_timestamp`"),
        (
            RefusalReason.CONTRACT_VIOLATION,
            encoded(EVENT, event_timestamp="2026-02-30T10:00:00Z"),
            "`$.event_timestamp`",
        ),
        (RefusalReason.TIMESTAMP_OUT_OF_RANGE, encoded(EVENT, event_timestamp="1970-01-01T00:00:00Z"), "start date"),
        (
            RefusalReason.TIMESTAMP_OUT_OF_RANGE,
            encoded(EVENT, event_timestamp="2024-01-01T00:30:00+01:00"),
            "2023-12-31",
        ),
        (
            RefusalReason.TIMESTAMP_OUT_OF_RANGE,
            encoded(EVENT, event_timestamp="2090-01-01T00:00:00Z"),
            "SINK_MAX_FUTURE",
        ),
        (RefusalReason.TIMESTAMP_OUT_OF_RANGE, encoded(EVENT, event_timestamp="2026-03-03T12:00:01Z"), "2026-03-03"),
    ],
)
def test_a_bad_event_is_refused_with_its_reason(decode, reason, value, names):
    refusal = decode(value)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.reason is reason
    assert names in refusal.message


@pytest.mark.parametrize(
    "text", ["10.405", "10000000000.00", "1e3", "NaN", "", ".5", "5.", "+1.00", "1,00", "1.00\n", "\u0661"]
)
def test_a_decimal_that_does_not_fit_is_refused(decode, text):
    refusal = decode(encoded(ORDER, total=text), domain="orders")
    assert refusal.reason is RefusalReason.CONTRACT_VIOLATION and "`$.total`" in refusal.message


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_utc_cannot_show_is_refused(decode, text):
    refusal = decode(encoded(ORDER, delivered_at=text), domain="orders")
    assert refusal.reason is RefusalReason.CONTRACT_VIOLATION and "`$.delivered_at`" in refusal.message


@pytest.mark.parametrize("key", [None, b""])
def test_a_record_without_a_key_is_refused(decode, key):
    assert decode(encoded(EVENT), key=key).reason is RefusalReason.MISSING_KEY


def test_a_refusal_knows_the_schema(decode):
    assert decode(WIRE + b"{broken").schema_id == 42
    assert decode(WIRE + encoded(EVENT), key=None).schema_id == 42


def test_text_nested_too_deep_is_refused(catalog):
    deep = b"[" * 100_000 + b"]" * 100_000
    decoder = Decoder(catalog["events"], 10**6, timedelta(hours=24))
    for value in (encoded(EVENT)[:-1] + b',"x":' + deep + b"}", encoded(EVENT).replace(b'"pizza"', deep)):
        assert decoder.decode(b"7", value, NOW).reason is RefusalReason.MALFORMED_JSON


def test_every_logical_type_has_an_arrow_column(tmp_path, catalog):
    path = tmp_path / "contract.json"
    kinds = {
        "class": {"type": "string"},
        "n": {"type": "number"},
        "b": {"type": "boolean"},
        "d": {"type": "string", "format": "date"},
        "share": {"type": "string", "x-type": "decimal(4,4)"},
        "count": {"type": "string", "x-type": "decimal(38,0)"},
        "t": {"type": "string", "format": "date-time"},
        "later": {"type": ["string", "number", "boolean", "null"]},
    }
    path.write_bytes(
        msgspec.json.encode(
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "type": "object",
                "properties": kinds,
                "required": ["t"],
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            }
        )
    )
    contract = load_contract("d", path)
    assert {c.type for c in contract.columns} > {ColumnType.DATE, ColumnType.NUMBER, ColumnType.BOOLEAN}
    domain = catalog["events"].model_copy(
        update={"bronze": catalog["events"].bronze.model_copy(update={"timestamp_col": "t"})}
    )
    domain.__dict__["contract"] = contract
    decoder = Decoder(domain, 10**6, timedelta(hours=24))
    full = {"class": "a", "n": 1, "b": True, "d": "2026-03-01", "share": "0.1234", "count": "9" * 38}
    for values in ({}, full):
        record = decoder.decode(b"k", encoded(values, t="2026-03-01T00:00:00Z"), NOW)
        assert isinstance(record, Record), record
        row = to_table(contract, bronze_schema(contract), "t", rows_of((0, 0, record), timestamp=5), NOW).to_pylist()[0]
        assert row["n"] == values.get("n") and row["d"] == (date(2026, 3, 1) if values else None)
        assert row["count"] == (Decimal("9" * 38) if values else None)
    for wrong in ({"share": "1.0"}, {"count": "9" * 39}, {"d": "2026-03-01T00:00:00Z"}, {"n": "1"}, {"b": 1}):
        assert isinstance(decoder.decode(b"k", encoded(wrong, t="2026-03-01T00:00:00Z"), NOW), Refusal)


@pytest.fixture
def evolved(tmp_path, catalog):
    """The events' contract before and after a property was added, as the rules of evolution demand it."""
    old = catalog["events"]
    union = old.contract.schema["additionalProperties"]
    properties = {**old.contract.schema["properties"], "later": {**union, "description": "Added later."}}
    path = tmp_path / "contract.json"
    path.write_bytes(msgspec.json.encode({**old.contract.schema, "properties": properties}))
    new = old.model_copy()
    new.__dict__["contract"] = load_contract("events", path)
    return old, new


@pytest.mark.parametrize(
    ("later", "text"),
    [
        ('"x"', "x"),
        ('"5"', "5"),
        ('"\\u00e9\\n"', "é\n"),
        ("5", "5"),
        ("1.50", "1.50"),
        ("1e400", "1e400"),
        ("-0.0", "-0.0"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("true", "true"),
        ("false", "false"),
        ("null", None),
    ],
)
def test_a_property_that_was_added_later_takes_whatever_its_union_allows(evolved, later, text):
    value = encoded(EVENT)[:-1] + b', "later" : ' + later.encode() + b" }"
    before, after = (Decoder(domain, 10**6, timedelta(hours=24)).decode(b"k", value, NOW) for domain in evolved)
    assert isinstance(before, Record) and before.extra == f'{{"later":{later}}}', "a sink of the old contract keeps it"
    assert isinstance(after, Record) and after.extra is None
    contract = evolved[1].contract
    row = to_table(contract, bronze_schema(contract), "t", rows_of((0, 0, after)), NOW).to_pylist()[0]
    assert row["later"] == text


@pytest.mark.parametrize("later", [b"[1]", b'{"a":1}', b'"\\ud800"', b'"\xff"'])
def test_a_property_that_was_added_later_takes_nothing_else(evolved, later):
    decoder = Decoder(evolved[1], 10**6, timedelta(hours=24))
    assert isinstance(decoder.decode(b"k", encoded(EVENT)[:-1] + b',"later":' + later + b"}", NOW), Refusal)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
TEXTS = st.sampled_from(
    ["2026-03-01T10:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.9999999-14:00", "1.00", "1e5", "\ud7ff"]
)
NUMBERS = st.sampled_from([2**63, -(2**63) - 1, 2**64, 10**30, -0.0, 1e308, 7.0, 7.5, 2.0**63])


@st.composite
def values(draw, record):
    """Bytes near a good record: fields changed, removed and added, then maybe bytes changed."""
    changed = dict(record)
    for name in draw(st.lists(st.sampled_from([*record, "new", "_offset", "ключ"]), max_size=3)):
        changed[name] = draw(JSON | TEXTS | NUMBERS | st.just(...))
    value = json.dumps({k: v for k, v in changed.items() if v is not ...}).encode()
    if draw(st.booleans()):
        value = WIRE + value
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(value)))
        value = value[:at] + draw(st.binary(max_size=3)) + value[at + draw(st.integers(0, 2)) :]
    return value


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_any_bytes_are_a_refusal_or_a_row_of_the_schema(decoders, catalog, data):
    domain, record = data.draw(st.sampled_from([("events", EVENT), ("orders", ORDER)]))
    contract = catalog[domain].contract
    rows = []
    for value in data.draw(st.lists(st.binary(max_size=40) | values(record), min_size=1, max_size=6)):
        outcome = decoders[domain].decode(data.draw(st.binary(max_size=4)), value, NOW)
        if isinstance(outcome, Record):
            rows.append((0, len(rows), outcome))
        else:
            assert isinstance(outcome.reason, RefusalReason) and outcome.message
    if rows:
        table = to_table(
            contract, bronze_schema(contract), "t", rows_of(*rows, timestamp=data.draw(st.none() | st.just(1))), NOW
        )
        table.validate(full=True)
        assert table.num_rows == len(rows)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        assert pq.read_table(pa.BufferReader(sink.getvalue())).to_pylist() == table.to_pylist()
