"""Options, and the layer of each test by its directory; the shared fixtures are in `tests.rigs.fixtures`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.rigs.fixtures"]

LAYERS = ("unit", "spark", "integration", "faults", "e2e")
_TESTS = Path(__file__).resolve().parent


# A JVM of a test stops at C1, in the demo's processes too: in some minutes it never earns back what C2 costs. Spark's
# code does not fit into the 48 MB that C1 has for it, and the JVM then throws away and compiles again.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--spark-engine", choices=("spark", "sail"), default="sail", help="what computes for the orchestration's tests"
    )
    parser.addoption("--fault-seed", type=int, default=1, help="decides when and how often the faults come")
    parser.addoption("--soak-faults", default="", help="only these faults of the soak, separated by commas")
    parser.addoption(
        "--soak-seconds", type=int, default=100, help="how long the soak lasts, if it has met every fault once"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test that names no layer the one of its directory; a test beside this file is a unit test."""
    for item in items:
        if not any(item.get_closest_marker(layer) for layer in LAYERS):
            folder = item.path.relative_to(_TESTS).parts[0] if item.path.is_relative_to(_TESTS) else "unit"
            item.add_marker(folder if folder in LAYERS else "unit")
