"""What a row of Postgres may hold and a record may not: it is masked, or refused by the shop or by the contract."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from infra.embedded.services.postgres import Postgres
from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY, Settings
from platform_kafka.registry import compile_contract
from producers.postgres.database import connect
from producers.postgres.fence import FencedReader, Position
from producers.postgres.query import changes_query
from simulation.shop.seed import past_transaction, seed_shop
from simulation.world import World, WorldSize

CATALOG = load_catalog(REPOSITORY / "domains" / "domains.yaml")
(MASKED,) = [rule for rule in CATALOG["users"].quality.rules if rule.name == "email_masked"]
ADDRESSES = {
    '"jane.roe@home"@example.com': '"***@example.com',
    "a@b@c.example": "a***@c.example",
    "jane@example.com": "j***@example.com",
    "no address": "n***@",
    "@example.com": "@***@example.com",
    "": "***@",
}


@pytest.fixture
def shop(postgres: Postgres) -> Iterator[Any]:
    connection = connect(Settings(postgres_dsn=postgres.env()["POSTGRES_DSN"]), application="test")
    connection.cursor().execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    seed_shop(connection, World(7, WorldSize(users=5, restaurants=2, menu_items=3, cities=2)))
    yield connection
    connection.close()


def documents(shop: Any, domain: str) -> dict[int, dict[str, Any]]:
    reader = FencedReader(shop, changes_query(CATALOG[domain]), Position())
    return {row.key: json.loads(row.document) for page in reader.poll() for row in page}


def is_masked(text: str) -> bool:
    """Judge as the rule does, whose pattern both engines and Python read alike."""
    pattern = re.fullmatch(r"email_masked rlike '(.*)'", MASKED.expression)
    assert pattern is not None
    return re.search(pattern[1], text) is not None


def test_of_every_address_the_first_character_and_the_domain_are_left(shop: Any) -> None:
    with shop.cursor() as cursor:
        for key, address in enumerate(ADDRESSES, start=100):
            cursor.execute("INSERT INTO users VALUES (%s, 'n', %s, 'x', 'gold', true)", (key, address))
        masked = [documents(shop, "users")[key]["email_masked"] for key in range(100, 100 + len(ADDRESSES))]
        assert masked == list(ADDRESSES.values())
        cursor.execute("DELETE FROM users WHERE user_id >= 100; SELECT email_masked FROM users_tombstones ORDER BY 1")
        assert sorted(row[0] for row in cursor.fetchall()) == sorted(ADDRESSES.values())
    assert all(is_masked(text) for text in ADDRESSES.values())
    assert not any(map(is_masked, ["john.roe***@example.com", "j***@home@example.com", "jane@example.com", "***"]))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders SET subtotal = 'NaN', total = 'NaN' WHERE order_id = 1",
        "UPDATE menu_items SET price = 'NaN'",
        "INSERT INTO order_items VALUES (1, 9, 101, 'x', 1, 'NaN')",
    ],
)
def test_the_shop_refuses_an_amount_that_is_no_number(shop: Any, statement: str) -> None:
    with past_transaction(shop) as cursor:
        cursor.execute("INSERT INTO orders VALUES (1, 1, 1, 'x', 'placed', 'EUR', 'card', 1, 0, 0, 1)")
    with pytest.raises(psycopg2.errors.CheckViolation, match="_amounts"):
        shop.cursor().execute(statement)


@pytest.mark.parametrize("time", ["infinity", "-infinity", "0044-03-15 BC", "12345-06-01", "294276-12-31"])
def test_a_time_that_the_contract_cannot_say_is_refused_and_never_another(shop: Any, time: str) -> None:
    contract = compile_contract(CATALOG["orders"], 1)
    with past_transaction(shop) as cursor:
        cursor.execute(
            "INSERT INTO orders VALUES (1, 1, 1, 'x', 'placed', 'EUR', 'card', 1, 0, 0, 1, '2026-03-01', '2026-03-01',"
            " %s)",
            (time,),
        )
    (document,) = documents(shop, "orders").values()
    assert document["delivered_at"] is not None
    violation = contract.violation(document)
    assert violation is not None and violation.startswith("`delivered_at`"), document


def test_the_first_year_and_the_last_that_the_contract_can_say_are_kept(shop: Any) -> None:
    with past_transaction(shop) as cursor:
        cursor.execute(
            "INSERT INTO orders VALUES (1, 1, 1, 'x', 'placed', 'EUR', 'card', 1, 0, 0, 1, '0001-01-01Z',"
            " '2026-03-01', '9999-12-31 23:59:59.999999Z')"
        )
    (document,) = documents(shop, "orders").values()
    assert compile_contract(CATALOG["orders"], 1).violation(document) is None
    assert document["created_at"] == "0001-01-01T00:00:00.000000Z"
    assert document["delivered_at"] == "9999-12-31T23:59:59.999999Z"
