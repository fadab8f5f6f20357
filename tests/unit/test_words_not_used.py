"""Names of production code keep to the table "Words that are not used" of docs/naming.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from platform_core.settings import REPOSITORY

NOT_USED = {"place", "places", "letter", "letters", "settle", "settled", "told", "tell", "anew", "here", "there"}

ALLOWED = {
    # the settle interval
    *("is_settled", "settle_seconds"),
    *("partition_settle_seconds", "partition_quick_settle_seconds", "partition_settle_max_seconds"),
    # places of a decimal, placing an order
    *("places", "last_place", "_place", "_place_order", "_in_place"),
    # keys of JSON that is stored, or that a command prints
    *("place", "letter"),
    # what a domain owns: folders, a topic, a schema and a command together
    *("default_places", "shared_places", "owned_places", "other_place", "_with_default_places"),
}


def defined_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def is_refused(name: str) -> bool:
    words = name.lower().replace("dead_letter", "").split("_")
    return name not in ALLOWED and not NOT_USED.isdisjoint(words)


def test_the_words_are_recognised() -> None:
    tree = ast.parse("def tell(place): parked_letters = open_dead_letters = self.there = 1")
    assert sorted(filter(is_refused, defined_names(tree))) == ["parked_letters", "tell", "there"]


def test_names_use_the_words_of_the_naming_document() -> None:
    rooms = {path.parent for path in REPOSITORY.glob("*/__init__.py")} - {
        REPOSITORY / "tests",
        REPOSITORY / "benchmarks",
    }
    refused = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for room in rooms
        for path in room.rglob("*.py")
        for name in defined_names(ast.parse(path.read_text(encoding="utf-8")))
        if is_refused(name)
    }
    assert refused == set(), "docs/naming.md says which word is used"
