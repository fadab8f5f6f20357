"""What the documents name exists: files, packages, commands, links and their anchors."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from platform_core.settings import REPOSITORY
from tests.rigs.anchors import anchors

DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")], key=lambda path: str(path.relative_to(REPOSITORY))
)
ROOMS = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} | {"tests", "docs"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_what_a_document_names_exists(document: Path) -> None:
    text = document.read_text()
    paths = [path for path in re.findall(r"`([\w./]+/[\w./]*)`", text) if path.split("/")[0] in ROOMS]
    modules = re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", text)
    missing = [path for path in paths if not (REPOSITORY / path).exists()]
    missing += [
        module
        for module in modules
        if module.split(".")[0] in ROOMS
        and not any((REPOSITORY / (module.replace(".", "/") + end)).exists() for end in (".py", "/__main__.py"))
    ]
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if ":" in target:
            continue
        file = (document.parent / target).resolve() if target else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            missing.append(link)
    assert missing == []


@pytest.mark.parametrize("room", ["producers", "simulation"])
def test_a_command_that_a_document_names_exists(room: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(" ".join(document.read_text() for document in DOCUMENTS).split())
    named = set(re.findall(rf"python -m {room} ([a-z][a-z-]*)", text))
    assert named
    for command in sorted(named):
        with pytest.raises(SystemExit) as end:
            import_module(f"{room}.cli").main([command, "--help"])
        assert end.value.code == 0, f"{command}: {capsys.readouterr().err}"
