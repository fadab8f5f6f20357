"""Small dates of each domain as the sink leaves them: values made here, decoded and encoded by the sink's own code.

Kafka is left out: offsets are counted here. What a day of the shop looks like belongs to `simulation`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from benchmarks.years.stopped_clock import StoppedClock
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_kafka.formats.wire_format import header
from sink.bronze.file import PendingFile
from sink.bronze.writer import Writer
from sink.records.buffer import Buffer, SealReason
from sink.records.decoding import Decoder, Refusal
from sink.records.rows import Rows

CITIES = ("Berlin", "Paris", "Rome")
_SCHEMA_ID = 7
_LARGEST_RECORD = 1 << 20
_OFFSETS_A_DATE = 1_000_000


def _event(number: int, at: str) -> dict[str, Any]:
    return {
        "event_id": str(uuid5(NAMESPACE_OID, f"{at}/{number}")),
        "event_type": ("search", "restaurant_view", "rejected")[2 if number == 0 else number % 2],
        "event_timestamp": at,
        "user_id": number,
        "session_id": f"s{number % 5}",
        "device_type": "web",
        "city": CITIES[number % 3],
        "restaurant_id": None,
        "order_id": None,
        "properties": {},
    }


def _order(number: int, at: str) -> dict[str, Any]:
    return {
        "order_id": number,
        "user_id": number,
        "restaurant_id": number % 4,
        "city": CITIES[number % 3],
        "status": "delivered",
        "currency": "EUR" if number else "XXX",
        "payment_method": "card",
        "subtotal": "20.00",
        "delivery_fee": "2.00",
        "discount": "0.00",
        "total": "22.00",
        "items": [{"menu_item_id": 1, "name": "ramen", "quantity": 2, "unit_price": "10.00"}],
        "created_at": at,
        "updated_at": at,
        "delivered_at": at,
        "cancelled_at": None,
        "deleted_at": None,
    }


def _restaurant(number: int, at: str) -> dict[str, Any]:
    menu = [{"menu_item_id": 1, "name": "ramen", "category": "main", "price": "10.00", "is_available": True}]
    return {
        "restaurant_id": number,
        "name": f"restaurant {number}",
        "city": CITIES[number % 3],
        "cuisine": "ramen",
        "is_open": True,
        "rating": "4.50" if number else "7.00",
        "menu_items": menu,
        "created_at": at,
        "updated_at": at,
        "snapshot_at": at,
        "deleted_at": None,
        "currency": "EUR",
    }


def _user(number: int, at: str) -> dict[str, Any]:
    return {
        "user_id": number,
        "name": f"user {number}",
        "email_masked": "u***@example.com",
        "city": CITIES[number % 3],
        "tier": "gold" if number else "wood",
        "is_active": True,
        "created_at": at,
        "updated_at": at,
        "extracted_at": at,
        "deleted_at": None,
    }


MADE: dict[str, Callable[[int, str], dict[str, Any]]] = {
    "events": _event,
    "orders": _order,
    "restaurants": _restaurant,
    "users": _user,
}
"""The record of a domain with a number; number 0 breaks a rule, so that each date has a row in quarantine."""


def write_file(lake: Lake, domain: Domain, day: date, first: int, records: int) -> str:
    """Write one Bronze file of a date and return its name.

    Args:
        first: Number of its first record; those of one date's files must not overlap.
        records: How many it has.
    """
    at = datetime.combine(day, time(10), UTC)
    decoder = Decoder(domain, _LARGEST_RECORD, timedelta(days=36_500))
    buffer = Buffer(domain.topic.name, day, 0.0)
    for number in range(first, first + records):
        moment = (at + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
        value = header(_SCHEMA_ID) + json.dumps(MADE[domain.name](number, moment)).encode()
        record = decoder.decode(str(number).encode(), value, at)
        if isinstance(record, Refusal):
            raise ValueError(f"The sink refuses a record of `{domain.name}`: {record.message}")
        offset = day.toordinal() * _OFFSETS_A_DATE + number
        buffer.add(Rows.of_record(0, offset, int(at.timestamp() * 1_000_000), record, len(value)))
    file = PendingFile(buffer, SealReason.AGE)
    writer = Writer(lake, [domain], StoppedClock(at + timedelta(seconds=first + records)))
    name = writer.new_name(file)
    _, data = writer.encode(file, name)
    Path(lake.uri(name)).parent.mkdir(parents=True, exist_ok=True)
    Path(lake.uri(name)).write_bytes(data)
    return name
