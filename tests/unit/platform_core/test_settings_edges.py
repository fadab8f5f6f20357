"""Only the edges read the environment; whatever they call is handed a `Settings`."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from datetime import date

import pytest

from pdp.environment import Platform
from platform_core.settings import REPOSITORY, settings
from producers.command_line import environment

EDGES = {
    "infra.docker.bin.daemon-health",
    "infra.docker.bin.shop-health",
    "infra.docker.spark",
    "infra.docker.test.test_one_host",
    "infra.embedded.__main__",
    "infra.embedded.commands.demo",
    "infra.embedded.commands.up",
    "infra.embedded.commands.warm_up",
    "infra.embedded.services.spark.sail",
    "pdp.environment",
    "platform_assets.daemon",
    "platform_assets.definitions",
    "platform_assets.instance.by_variables",
    "platform_assets.instance.compute_logs",
    "platform_assets.resources.metadata_store",
    "platform_assets.resources.spark",
    "platform_assets.resources.warehouse",
    "producers.cli",
    "producers.command_line",
    "simulation.cli",
    "sink.__main__",
    "spark_jobs.cli",
    "spark_jobs.engine.session",
}
"""Command lines, what an image runs, what Dagster loads, its resources, and the size of a session's shuffle."""

PACKAGES = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["mypy"]["packages"]


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in sorted({name.split(".")[0] for name in PACKAGES} - {"tests", "benchmarks"}):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
            yield name, ast.parse(path.read_text())


def reads_settings(tree: ast.Module) -> bool:
    """Return whether a module can call `settings()` or makes a `Settings` from the environment itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imported = {f"{node.module}.{alias.name}" for alias in node.names}
            if imported & {"platform_core.settings.settings", "platform_core.settings"}:
                return True
        if isinstance(node, ast.Import) and any(alias.name == "platform_core.settings" for alias in node.names):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Settings":
            return True
    return False


def test_only_the_edges_read_the_environments_settings() -> None:
    readers = {name for name, tree in modules() if reads_settings(tree)} - {"platform_core.settings"}
    assert readers - EDGES == set(), "pass `Settings` down"
    assert readers >= EDGES, "take the module off the list, it reads them no more"


@pytest.mark.parametrize(
    "text",
    [
        "from platform_core.settings import settings",
        "from platform_core.settings import REPOSITORY, settings as environment",
        "from platform_core import settings",
        "import platform_core.settings",
        "from platform_core.settings import Settings\nconfig = Settings()",
        "def f():\n    from platform_core.settings import settings",
    ],
)
def test_every_way_to_read_them_is_seen(text: str) -> None:
    assert reads_settings(ast.parse(text))
    assert not reads_settings(ast.parse("from platform_core.settings import Settings\ndef f(s: Settings): ..."))


def test_the_domains_of_a_process_are_those_of_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTITIONS_START_DATE", "2026-11-03")
    settings.cache_clear()
    assert {domain.start_date for domain in Platform().catalog} == {date(2026, 11, 3)}
    assert {domain.start_date for domain in environment()[1]} == {date(2026, 11, 3)}
    settings.cache_clear()
