from __future__ import annotations

from datetime import date

import pytest

from simulation.world import World, WorldSize

DAY = date(2026, 3, 10)


@pytest.fixture(scope="session")
def world() -> World:
    return World(7, WorldSize(users=300, restaurants=24, menu_items=8, cities=4))


@pytest.fixture
def day() -> date:
    return DAY
