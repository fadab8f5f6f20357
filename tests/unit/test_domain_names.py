"""No framework file names a domain: what one domain means is in its package, in domains.yaml or in the simulated town.

`events` and `users` are also words of Dagster and of Kafka, so an identifier may have them; a string may not.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY

DOMAINS = load_catalog(REPOSITORY / "domains" / "domains.yaml").names
DISTINCT = {"orders", "restaurants"}
MAY_NAME_THEM = ("domains", "simulation")
# The live clickstream is what the visitors of the simulated shop do; it reads the shop's tables.
OF_THE_SHOP = ("producers/clickstream/crowd.py", "producers/clickstream/shop_view.py")

READS_A_TABLE = re.compile(rf"\b(from|join|into|update|table)\s+({'|'.join(DOMAINS)})\b", re.IGNORECASE)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def named(source: str) -> Iterator[str]:
    """Yield each name of a domain in the code of a file, with its line."""
    tree = ast.parse(source)
    documented = [node for node in ast.walk(tree) if isinstance(node, DOCUMENTED)]
    docstrings = {node.body[0].value for node in documented if node.body and isinstance(node.body[0], ast.Expr)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and node not in docstrings else None
        if isinstance(text, str) and (text in DOMAINS or READS_A_TABLE.search(text)):
            yield f"{getattr(node, 'lineno', 0)}: {text[:60]!r}"
        for field in ("id", "attr", "name", "arg"):
            text = getattr(node, field, None)
            if isinstance(text, str) and DISTINCT & set(re.split(r"[._]", text.lower())):
                yield f"{getattr(node, 'lineno', 0)}: {text}"


def framework_files() -> list[Path]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = set(project["tool"]["importlinter"]["root_packages"]) - set(MAY_NAME_THEM)
    files = [path for package in packages for path in (REPOSITORY / package).rglob("*.py")]
    return [path for path in files if str(path.relative_to(REPOSITORY)) not in OF_THE_SHOP]


def test_no_framework_file_names_a_domain() -> None:
    files = framework_files()
    assert len(files) > 100
    found = {str(path.relative_to(REPOSITORY)): list(named(path.read_text(encoding="utf-8"))) for path in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_each_way_to_name_a_domain_is_seen() -> None:
    for code in (
        'catalog["orders"]',
        "def run_orders(): ...",
        "import simulation.orders_day",
        'SQL = "select 1 from users where true"',
        'f"{x} join restaurants"',
        "f(restaurants=1)",
    ):
        assert list(named(code)), code
    assert not list(named('"""Reads orders."""\nevents = read("processed-events", users=2)'))
