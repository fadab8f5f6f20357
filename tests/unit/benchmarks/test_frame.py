"""Contestants take turns, unequal results fail the run, and figures become a line, a table, JSON and a picture."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import machine
from benchmarks.frame import Amount, Case, Contestant, DifferentResultsError, Measures, compete
from benchmarks.machine import Circumstances
from benchmarks.picture import drawn
from benchmarks.report import Report, load, report_of, save, table, tables_beside
from benchmarks.summary import Spread, summarise
from benchmarks.usage import ProgramFailedError, Usage, of_program

MACHINE = Circumstances("2026-11-27T12:00:00+00:00", "abc1234", 2, "Model <X>", 16.0, 1.5, "3.11.9")


def contestant(name: str, cpu: list[float], turns: list[str], result: str = "same") -> Contestant:
    remaining = iter(cpu)

    def work(folder: Path) -> Usage:
        turns.append(name)
        (folder / "result").write_text(result)
        return Usage(next(remaining), 1.0, 2**20)

    return Contestant(name, work)


def compare(one: Path, other: Path) -> list[str]:
    same = (one / "result").read_text() == (other / "result").read_text()
    return [] if same else ["the result"]


def case(*contestants: Contestant, units: int = 0) -> Case:
    return Case("toy", "Toy <work>", "2 things", contestants, units, "things" if units else "", compare)


def report(units: int = 0) -> Report:
    used = {"peer": [Usage(1, 5, 2**20), Usage(2, 5, 2**21)], "ours": [Usage(3, 9, 2**22), Usage(4, 9, 2**20)]}
    return report_of(case(units=units), summarise(used, units), MACHINE)


def test_contestants_alternate_and_every_other_round_goes_backwards(tmp_path: Path) -> None:
    turns: list[str] = []
    one, other = contestant("a", [1, 2, 3], turns), contestant("b", [4, 5, 6], turns)
    *_, used = compete(case(one, other), 3, tmp_path, report=lambda _: None)
    assert turns == ["a", "b", "b", "a", "a", "b"]
    assert [usage.cpu_seconds for usage in used["b"]] == [4, 5, 6]


def test_a_case_whose_results_differ_fails(tmp_path: Path) -> None:
    turns: list[str] = []
    unequal = case(contestant("a", [1], turns), contestant("b", [1], turns, result="other"))
    with pytest.raises(DifferentResultsError, match="`b` differs from `a`: the result"):
        next(compete(unequal, 1, tmp_path, report=lambda _: None))


def test_a_folder_has_no_comma_which_spark_takes_for_the_end_of_it(tmp_path: Path) -> None:
    next(compete(case(contestant("Spark, cold", [1], [])), 1, tmp_path, report=lambda _: None))
    assert [path.name for path in (tmp_path / "round-0").iterdir()] == ["Spark-cold"]


def test_the_ratio_is_the_median_of_each_round_s_own() -> None:
    used = {"peer": [Usage(1, 0, 0), Usage(2, 0, 0), Usage(10, 0, 0)]}
    used["ours"] = [Usage(3, 0, 5), Usage(4, 0, 9), Usage(5, 0, 7)]
    peer, ours = summarise(used, units=8)
    assert peer.ratio == Spread(1, 1, 1)
    assert ours.ratio == Spread(2, 0.5, 3)
    assert ours.cpu_seconds == Spread(4, 3, 5)
    assert (ours.peak_bytes, ours.units_a_cpu_second, ours.rounds) == (9, 2, 3)


def test_a_contestant_can_have_a_peer_of_its_own() -> None:
    used = {name: [Usage(cpu, 0, 0)] for name, cpu in (("tick", 1), ("tick, old", 2), ("run", 10), ("run, old", 30))}
    compared = case(*(Contestant(name, lambda _: used["run"][0], name.removesuffix(", old")) for name in used))
    assert [line.ratio.median for line in summarise(used, peers=compared.peers)] == [1, 2, 1, 3]


def test_what_was_counted_and_measured_is_saved_and_shown(tmp_path: Path) -> None:
    waits = Measures("wait", ("p50 s", "samples"), {"event to Bronze": (30.25, 1_200)})
    measured = report_of(
        replace(case(), measures=lambda: (waits,), amounts=(Amount("files", 4, 6), Amount("logs", 0, 2))),
        report().lines,
        MACHINE,
    )
    save(measured, tmp_path / "toy.json")
    console = Console(width=80)
    with console.capture() as captured:
        for beside in tables_beside(load(tmp_path / "toy.json")):
            console.print(beside)
    assert all(shown in captured.get() for shown in ("files", "1.50", "event to Bronze", "30.2", " 1,200 "))


@pytest.mark.parametrize("units", [0, 6])
def test_a_saved_report_reads_back(tmp_path: Path, units: int) -> None:
    save(report(units), tmp_path / "new" / "toy.json")
    assert load(tmp_path / "new" / "toy.json") == report(units)


def test_the_table_has_medians_spreads_and_ratios() -> None:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table(report(6)))
    text = captured.get()
    for shown in ("1.5 (1.0–2.0)", "2.50 (2.00–3.00)", "things / CPU s", "2 cores, load 1.5, commit abc1234"):
        assert shown in text


def test_the_picture_is_svg_with_a_bar_as_long_as_its_figure() -> None:
    root = ElementTree.fromstring(drawn(report()))
    peer, ours = root.findall("{*}rect")
    assert float(peer.get("width", 0)) / float(ours.get("width", 0)) == pytest.approx(1.5 / 3.5, abs=0.01)
    assert "Toy <work>" in "".join(root.itertext())


def test_what_is_not_the_platform_has_the_peer_s_colour() -> None:
    each = [contestant(name, [1], []) for name in ("peer", "another", "ours")]
    of_others = case(*[replace(one, is_ours=one.name == "ours") for one in each])
    used = {one.name: [Usage(1, 1, 1)] for one in each}
    root = ElementTree.fromstring(drawn(report_of(of_others, summarise(used), MACHINE)))
    peer, another, ours = (bar.get("fill") for bar in root.findall("{*}rect"))
    assert peer == another != ours


def test_a_program_s_children_and_its_services_are_counted(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    assert of_program([sys.executable, "-c", parent], tmp_path / "log", {}).cpu_seconds >= 0.3
    waits = "import time; time.sleep(1)"  # memory is looked at each 0.1 s
    assert of_program([sys.executable, "-c", waits], tmp_path / "log", {}).peak_bytes > 2**20
    # As its own service this process counts the child a second time.
    assert of_program([sys.executable, "-c", burn], tmp_path / "log", {}, [os.getpid()]).cpu_seconds >= 0.6


def test_a_program_that_fails_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailedError, match="no such day"):
        of_program([sys.executable, "-c", "raise SystemExit('no such day')"], tmp_path / "log", {})


def test_a_result_never_names_the_machine() -> None:
    assert os.uname().nodename not in repr(machine.circumstances())
