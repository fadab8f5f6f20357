"""An aim finds its figure in what its case stores, and says whether the figure keeps to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.aims import AIMS, CPU, RATIO, SPEED, Aim, compared
from benchmarks.frame import Case
from benchmarks.machine import Circumstances
from benchmarks.report import RESULTS, Report, load, report_of
from benchmarks.summary import summarise
from benchmarks.usage import Usage

MACHINE = Circumstances("2026-11-27T12:00:00+00:00", "abc1234", 2, "Model", 16.0, 1.5, "3.11.9")


def report() -> Report:
    used = {"peer": [Usage(2, 5, 1)], "ours": [Usage(4, 9, 1)]}
    return report_of(Case("toy", "Toy", "8 things", (), 8, "things"), summarise(used, 8), MACHINE)


@pytest.mark.parametrize(
    ("figure", "met", "missed"), [(RATIO, 2, 1.9), (CPU, 4, 3.9), (SPEED, 2, 2.1)], ids=["ratio", "CPU", "speed"]
)
def test_a_figure_at_its_bound_is_met_and_one_beyond_is_missed(figure, met, missed) -> None:
    assert Aim("it", "toy", "ours", figure, met).is_met(report())
    assert not Aim("it", "toy", "ours", figure, missed).is_met(report())


@pytest.mark.parametrize("aim", AIMS, ids=lambda aim: aim.what)
def test_each_aim_finds_its_figure_in_the_stored_result(aim) -> None:
    assert aim.measured(load(RESULTS / f"{aim.case}.json")) > 0


def test_a_case_without_a_result_is_not_met(tmp_path: Path) -> None:
    assert compared(tmp_path)[1] is False
