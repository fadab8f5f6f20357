"""A small day of Bronze for each domain, as the sink writes it, with everything that can be wrong in it.

Records are rows of contract columns; what the tests expect of them is in the tests. The Parquet columns and types
are those of `platform_core.domain.bronze_schema`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake

DAY = date(2026, 11, 20)
OTHER_DAY = date(2026, 11, 19)
MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    """A record and its place in Kafka."""

    values: dict[str, Any]
    partition: int = 0
    offset: int = 0
    ingested_at: datetime = MIDNIGHT + timedelta(hours=30)
    extra: str | None = None
    sent_at: datetime | None = None

    @property
    def kafka_timestamp(self) -> datetime:
        return self.sent_at or MIDNIGHT + timedelta(seconds=self.offset)


@dataclass
class Log:
    """Hands out offsets, as a topic with two partitions does."""

    records: list[Record] = field(default_factory=list)

    def add(self, values: dict[str, Any], **rest: Any) -> Record:
        partition = len(self.records) % 2
        record = Record(values, partition, 1000 + len(self.records), **rest)
        self.records.append(record)
        return record

    def again(self, record: Record) -> None:
        """Deliver a record a second time, five minutes later."""
        self.records.append(replace(record, ingested_at=record.ingested_at + timedelta(minutes=5)))


def write(
    lake: Lake,
    domain: Domain,
    day: date,
    records: Sequence[Record],
    *,
    files: int = 3,
    seed: int = 0,
    without: Sequence[str] = (),
) -> list[str]:
    """Spread the records over files in an order that the seed decides, and return the files' names."""
    shuffled = list(records)
    random.Random(seed).shuffle(shuffled)
    schema = bronze_schema(domain.contract)
    for name in without:
        schema = schema.remove(schema.get_field_index(name))
    folder = lake.bronze_partition(domain, day)
    if lake.is_local:  # a bucket has no folders, and what stands for one would be an object
        Path(lake.path(folder)).mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(files):
        part = shuffled[number::files]
        rows = [
            {
                **record.values,
                "_topic": domain.topic.name,
                "_partition": record.partition,
                "_offset": record.offset,
                "_kafka_timestamp": record.kafka_timestamp,
                "_key": str(record.values.get(domain.topic.key)),
                "_schema_id": 7,
                "_ingested_at": record.ingested_at,
                "_extra": record.extra,
            }
            for record in part
        ]
        suffix = random.Random(f"{seed}{number}").getrandbits(32)
        name = f"{folder}/part-20261120T{seed:02d}{number:04d}-{suffix:08x}.parquet"
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, lake.path(name), filesystem=lake.filesystem, compression="snappy")
        names.append(name)
    return names


def at(hour: float, microsecond: int = 0) -> datetime:
    return MIDNIGHT + timedelta(hours=hour, microseconds=microsecond)


def event(event_id: str | None, event_type: str, hour: float, **rest: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": event_type,
        "event_timestamp": at(hour, 123456),
        "user_id": 1,
        "session_id": "s1",
        "device_type": "ios",
        "city": "Zürich 🏔",
        "restaurant_id": None,
        "order_id": None,
        "properties": "{}",
        **rest,
    }


def events() -> list[Record]:
    log = Log()
    steps = ["app_open", "restaurant_view", "add_to_cart", "checkout_start", "order_placed"]
    for number, step in enumerate(steps):
        log.add(event(f"a{number}", step, 1 + number, order_id=9 if step == "order_placed" else None))
    for number, step in enumerate(steps[:3]):
        log.add(event(f"b{number}", step, 2.5, session_id="s2", user_id=2, city=None, device_type="web"))
    # Skips restaurant_view, so its add_to_cart does not count in the funnel.
    log.add(event("c0", "app_open", 3, session_id="s3", user_id=2, city="Oslo"))
    log.add(event("c1", "add_to_cart", 3, session_id="s3", user_id=2, city="Oslo"))
    # No app_open: a session of a city of its own, where every conversion has a denominator of 0.
    search = log.add(event("d0", "search", 23.9999, session_id="s4", user_id=3, city="", device_type="android"))
    log.add(event("d0", "search", 23.9999, session_id="s4", user_id=3, city="", device_type="android"))
    log.again(search)
    log.again(search)
    log.add(
        event(
            "e0",
            "menu_item_view",
            5,
            properties='{"query": "piña \\"x\\"", "menu_item_id": 7, "quantity": 99999999999, "new": 1.5,'
            r' "at": "a @ b", "to": "Jane, jane.roe@example.com", "quoted": "\"jane.roe@home\"@example.com",'
            r' "escaped": "jane.roe\u0040example.com"}',
            city="Oslo",
            session_id="s5",
        ),
        extra='{"campaign":"ü","email":"jane.roe@example.com"}',
    )
    log.add(event("e1", "app_close", 5.5, properties="not json", city="Oslo", session_id="s5"))
    # A second city in session s1, which stays with the first by name.
    log.add(event("e2", "app_close", 5.5, properties=None, city="Ørsta"))
    bad = log.add(event("x0", "page_view", 6, properties='{"q":"<&\\u0001>"}'))
    log.again(bad)
    log.add(event("x1", "order_placed", 6))
    log.add(event("x2", "page_view", 6, device_type="fridge"))
    log.add(event(None, "search", 6))
    log.add(event("x3", "search", 24))
    log.add(event("x4", "search", 6, device_type=None))
    return log.records


def line(quantity: int, price: str, name: str = "Käse-Spätzle", **rest: Any) -> dict[str, Any]:
    return {"menu_item_id": 5, "name": name, "quantity": quantity, "unit_price": price, **rest}


def order(order_id: int, status: str, subtotal: str, updated: float = 2, **rest: Any) -> dict[str, Any]:
    fee, discount = Decimal(rest.pop("fee", "2.50")), Decimal(rest.pop("discount", "0.00"))
    return {
        "order_id": order_id,
        "user_id": 3,
        "restaurant_id": order_id % 3,
        "city": "Zürich 🏔",
        "status": status,
        "currency": "EUR",
        "payment_method": "card",
        "subtotal": Decimal(subtotal),
        "delivery_fee": fee,
        "discount": discount,
        "total": Decimal(subtotal) + fee - discount,
        "items": json.dumps([line(2, "1.10"), line(1, subtotal)], ensure_ascii=False),
        "created_at": at(1, order_id),
        "updated_at": at(updated, order_id),
        "delivered_at": None,
        "cancelled_at": None,
        "deleted_at": None,
        **rest,
    }


def orders() -> list[Record]:
    log = Log()
    cents = random.Random(5)
    for number in range(1, 41):
        subtotal = f"{cents.randrange(500, 20000) / 100:.2f}"
        log.add(order(number, "placed", subtotal, updated=1))
        taken = cents.randrange(10, 5_000_000_000)
        delivered = {"delivered_at": at(1, number) + timedelta(microseconds=taken)} if number % 4 else {}
        status = "delivered" if delivered else ("cancelled" if number % 8 else "picked_up")
        city = ["Zürich 🏔", "Oslo", "São Paulo"][number % 3]
        last = log.add(order(number, status, subtotal, updated=3, city=city, discount="0.33", **delivered))
        if number % 5 == 0:
            log.again(last)
        if number % 7 == 0:  # the same updated_at: the later offset wins
            log.add(order(number, status, subtotal, updated=3, city=city, discount="0.34", **delivered))
    # A late old version must not win, and a bad latest version must not bring back the good one before it.
    log.add(order(1, "confirmed", "1.00", updated=1.5))
    log.add({**order(2, "delivered", "10.00", updated=9), "total": Decimal("99.00")})
    log.add(order(50, "placed", "9999999.99", fee="0.00", city="Reykjavík"))
    log.add(order(51, "delivered", "20.00", city="Deleted", deleted_at=at(20)))
    log.add(order(52, "cancelled", "20.00", city="Only cancelled", cancelled_at=at(2)))
    log.add(order(60, "teleported", "1.00"))
    log.add(order(61, "placed", "1.00", items="[]"))
    log.add(order(62, "placed", "1.00", items='[{"menu_item_id": 1, "name": "x", "quantity": 1, "unit_price": "abc"}]'))
    log.add(order(63, "placed", "1.00", items="nonsense"))
    log.add(order(64, "placed", "1.00", updated=0.5))
    log.add(order(65, "placed", "1.00", created_at=at(-1)))
    log.add(order(53, "delivered", "500000.00", city="Oslo", currency="JPY"))
    for number, currency in enumerate(("", "eur", "XXX"), 54):
        log.add(order(number, "placed", "1.00", currency=currency))
    log.add(order(66, "delivered", "1.00", delivered_at=datetime(9999, 12, 31, tzinfo=UTC)))
    log.add(order(67, "delivered", "1.00", delivered_at=datetime(1899, 12, 31, tzinfo=UTC)))
    # A version of a far future must not keep the later ones out, and a tombstone counts though a rule refuses it.
    log.add(order(70, "placed", "7.00", updated=1))
    log.add(order(70, "delivered", "8.00", updated_at=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)))
    log.add(order(70, "cancelled", "9.00", updated=3))
    log.add(order(71, "placed", "7.00", updated=1))
    log.add({**order(71, "placed", "7.00", deleted_at=at(2)), "total": Decimal("0.07")})
    return log.records


def restaurants() -> list[Record]:
    log = Log()

    def menu(*prices: str) -> str:
        items = [
            {"menu_item_id": n, "name": f"Döner {n}", "category": "main", "price": price, "is_available": n % 2 == 0}
            for n, price in enumerate(prices)
        ]
        return json.dumps(items, ensure_ascii=False)

    def snapshot(restaurant_id: int, hour: float, **rest: Any) -> dict[str, Any]:
        return {
            "restaurant_id": restaurant_id,
            "name": "Łódź",
            "city": "Berlin",
            "cuisine": "thai",
            "is_open": True,
            "rating": Decimal("4.35"),
            "menu_items": menu("1.00", "2.01", "2.01"),
            "created_at": at(-500),
            "updated_at": at(-5),
            "snapshot_at": at(hour),
            "deleted_at": None,
            "currency": None,
            **rest,
        }

    for hour in (0, 1, 2):
        log.add(snapshot(1, hour, rating=Decimal(hour + 1)))
        log.add(snapshot(2, hour, rating=None, is_open=False, menu_items="[]"))
        log.add(snapshot(3, hour, cuisine="pizza", menu_items="[]", rating=None))
        log.add(snapshot(4, hour, deleted_at=at(0.5)))
    log.add(snapshot(5, 3, rating=Decimal("4.36"), menu_items=menu("9.995")))
    log.add(snapshot(6, 3, rating=Decimal("5.01")))
    log.add(snapshot(7, 3, menu_items=menu("cheap")))
    log.add(snapshot(8, 3, currency="JPY", menu_items=menu("900.00")))
    log.add(snapshot(9, 3, currency="eur"))
    return log.records


def users() -> list[Record]:
    log = Log()

    def user(user_id: int, updated: float, **rest: Any) -> dict[str, Any]:
        return {
            "user_id": user_id,
            "name": "Ångström 😀",
            "email_masked": "a***@example.com",
            "city": "Berlin",
            "tier": "gold",
            "is_active": True,
            "created_at": at(-30),
            "updated_at": at(updated),
            "extracted_at": at(12),
            "deleted_at": None,
            **rest,
        }

    log.add(user(1, 1, tier="bronze"))
    log.add(user(1, 2))
    log.add(user(2, 2, created_at=at(0.1)))
    log.add(user(3, 2, is_active=False))
    log.add(user(4, 2, deleted_at=at(3)))
    log.again(log.add(user(5, 2, city="Rome", created_at=at(23.99))))
    # The zero time of Go and .NET, and a sentinel: neither fits nanoseconds.
    log.add(user(8, 2, city="Babylon", created_at=datetime(1, 1, 1, tzinfo=UTC)))
    log.add(user(9, 2, city="Babylon", deleted_at=datetime(9999, 12, 31, tzinfo=UTC)))
    log.add(user(6, 2, email_masked="plain@example.com"))
    log.add(user(7, 2, tier="diamond", extracted_at=at(25)))
    return log.records


RECORDS = {"events": events, "orders": orders, "restaurants": restaurants, "users": users}
