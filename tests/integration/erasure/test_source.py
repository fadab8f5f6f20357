"""What the source's tables have of a person, on a real Postgres with the shop's schema."""

from __future__ import annotations

from erasure import source
from erasure.source import SourceRows
from erasure.subject import holders
from simulation.shop.schema import create_schema
from tests.rigs.producers.rig import ProducersRig


def test_live_rows_are_counted_and_tombstones_of_one_person_are_deleted(producers_rig: ProducersRig) -> None:
    create_schema(producers_rig.connect())
    with producers_rig.connect().cursor() as cursor:
        for user in (7, 8):
            cursor.execute(
                "INSERT INTO users (user_id, name, email, city, tier) VALUES (%s, 'n', %s, 'x', 'gold')",
                (user, f"{user}@example.com"),
            )
        [of_users] = [h for h in holders(producers_rig.catalog, "user", "7") if h.domain.name == "users"]
        assert source.count(producers_rig.settings, of_users) == SourceRows("users", 1, "users_tombstones", 0)

        cursor.execute("DELETE FROM users")
        found = source.count(producers_rig.settings, of_users)
        assert found == SourceRows("users", 0, "users_tombstones", 1)
        source.forget_tombstones(producers_rig.settings, found, of_users)
        assert source.count(producers_rig.settings, of_users) == SourceRows("users", 0, "users_tombstones", 0)
        cursor.execute("SELECT user_id FROM users_tombstones")
        assert cursor.fetchall() == [(8,)]


def test_a_clickstream_has_no_table(producers_rig: ProducersRig) -> None:
    [of_events] = [h for h in holders(producers_rig.catalog, "user", "7") if h.domain.name == "events"]
    assert source.count(producers_rig.settings, of_events) is None
