"""A public class name occurs once in the code base, so that one word means one thing (docs/naming.md)."""

from __future__ import annotations

import ast
import subprocess
from collections import defaultdict

from platform_core.settings import REPOSITORY

OF_A_PLUGIN = {"Transform", "Aggregation"}
"""What each domain's package must define."""


def test_a_public_class_name_occurs_once() -> None:
    files = defaultdict(list)
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.split()
    for name in listed:
        if not name.startswith(("tests/", "benchmarks/")) and (path := REPOSITORY / name).exists():
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    files[node.name].append(name)
    assert len(files) > 100
    assert {name: found for name, found in files.items() if len(found) > 1 and name not in OF_A_PLUGIN} == {}
