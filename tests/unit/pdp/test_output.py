"""One list of records, printed for people or for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pytest
from rich.text import Text

from pdp import output
from pdp.output import TableColumn


@dataclass(frozen=True)
class Row:
    topic: str
    day: date
    lag: int | None
    at: datetime | None = None

    @property
    def late(self) -> bool:
        return bool(self.lag)


ROWS = [
    Row("raw-orders", date(2026, 11, 20), 1234, datetime(2026, 11, 20, 6, tzinfo=UTC)),
    Row("raw-users", date(2026, 11, 21), None),
]


def answer(rows: list[Row], *, as_json: bool) -> None:
    table = output.table(rows, "topic", TableColumn("date", "day"), TableColumn("behind", "lag"), "at")
    document = {"rows": [output.record(row, "late", without=["day"]) for row in rows], "raw": rows}
    output.AS_JSON.set(as_json)
    output.answer(document, table, notes=["a note"], nothing="No row.")


def test_a_person_reads_a_table_and_its_notes_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    answer(ROWS, as_json=False)
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert ["topic", "date", "behind", "at"] in lines
    assert ["raw-orders", "2026-11-20", "1,234", "2026-11-20", "06:00:00"] in lines
    assert ["raw-users", "2026-11-21"] in lines
    assert err == "a note\n"


def test_a_program_reads_one_document_and_no_notes(capsys: pytest.CaptureFixture[str]) -> None:
    answer(ROWS, as_json=True)
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["rows"][0] == {
        "topic": "raw-orders",
        "lag": 1234,
        "at": "2026-11-20T06:00:00+00:00",
        "late": True,
    }
    assert document["raw"][1] == {"topic": "raw-users", "day": "2026-11-21", "lag": None, "at": None}
    assert err == ""


def test_what_is_said_of_nothing_replaces_the_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    answer([], as_json=False)
    assert capsys.readouterr() == ("", "No row.\n")


@pytest.fixture(autouse=True)
def _no_json() -> Iterator[None]:
    yield
    output.AS_JSON.set(False)


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\x7f"


def test_nothing_of_a_value_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"a {HOSTILE}", "styled": Text(HOSTILE, "red"), "list": [HOSTILE], "dict": {HOSTILE: HOSTILE}}]
    shown = output.table(rows, "text", "styled", "list", "dict", title=HOSTILE), Text(HOSTILE), HOSTILE
    output.answer({}, *shown, notes=[HOSTILE])
    output.AS_JSON.set(True)
    output.answer({HOSTILE: [HOSTILE]})
    out, err = capsys.readouterr()
    for each in (out, err):
        assert each.replace("\n", "").isprintable()
        assert each.count("\\x1b") + each.count("\\u001b") >= 2, "what was there is still to be seen"
    assert json.loads(out[out.index("{\n") :]) == {HOSTILE: [HOSTILE]}


def test_numbers_stand_to_the_right_and_are_never_folded() -> None:
    table = output.table(ROWS, "topic", TableColumn("behind", "lag"))
    assert [(column.justify, column.no_wrap) for column in table.columns] == [("left", False), ("right", True)]
