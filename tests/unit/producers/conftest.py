from __future__ import annotations

from datetime import date

import pytest

from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.settings import REPOSITORY
from producers.world import World, WorldSize

DAY = date(2026, 3, 10)


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog(REPOSITORY / "domains" / "domains.yaml")


@pytest.fixture(scope="session")
def world() -> World:
    return World(7, WorldSize(users=300, restaurants=24, menu_items=8, cities=4))


@pytest.fixture
def day() -> date:
    return DAY
