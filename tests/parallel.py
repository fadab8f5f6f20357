"""Runs all tests as several pytest processes at a time: `python -m tests.parallel`.

A group is a few folders or files that share services; each group is one process, with services, ports and temporary
folders of its own. Most of a group's time is waiting, for a JVM to start, a lease to end or a killed broker to come
back, so more groups run than there are cores. What a test does, and how it is judged, is unknown here.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parents[1]
LOGS = REPOSITORY / ".platform" / "tests"
SLOWEST = 10
LONGEST_REASON = 200  # characters of an assertion's first line
NO_TESTS = 5  # pytest's exit code

# The longest first, so that the last to end is a short one. A file belongs to the longest path that it is below.
GROUPS: Mapping[str, Sequence[str]] = {
    "store": ["tests/faults/test_store_faults.py"],
    "demo": ["tests/e2e"],
    "faults": ["tests/faults"],
    "platform_assets": ["tests/integration/platform_assets"],
    "services": ["tests/integration", "tests/e2e/test_new_domain.py"],
    "cluster": ["tests/faults/test_spark_cluster.py"],
    "soak": ["tests/faults/test_soak.py", "tests/faults/test_broker_stopped.py", "tests/faults/test_sink_mutants.py"],
    "producers": ["tests/integration/producers", "tests/integration/simulation", "tests/integration/pdp"],
    "spark": ["tests/spark"],
    "up": ["tests/e2e/test_up.py"],
    "unit": ["tests/unit"],
}


def split(files: Iterable[str], groups: Mapping[str, Sequence[str]] = GROUPS) -> dict[str, list[str]]:
    """Return each group's files, so that every file is in exactly one group.

    Raises:
        SystemExit: a file is below no group's path.
    """
    owners = {path: name for name, paths in groups.items() for path in paths}
    result: dict[str, list[str]] = {name: [] for name in groups}
    for file in sorted(files):
        around = [path for path in owners if file == path or file.startswith(f"{path}/")]
        if not around:
            sys.exit(f"{file} is in no group of {__file__}.")
        result[owners[max(around, key=len)]].append(file)
    return {name: found for name, found in result.items() if found}


@dataclass
class Group:
    """A pytest process, its log and, when it has ended, how long each test took and why those failed that did."""

    name: str
    files: Sequence[str]
    code: int | None = None
    seconds: float = 0
    cpu_seconds: float = 0
    tests: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _started: float = 0

    @property
    def log(self) -> Path:
        """What pytest printed."""
        return LOGS / f"{self.name}.log"

    @property
    def _durations(self) -> Path:
        return LOGS / f"{self.name}.xml"

    def start(self, options: Sequence[str]) -> None:
        """Run the group's tests in a process of their own."""
        self._durations.unlink(missing_ok=True)
        self._started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    "--durations=0",
                    f"--junitxml={self._durations}",
                    *options,
                    *self.files,
                ],
                cwd=REPOSITORY,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self) -> bool:
        """Return whether the process has ended; its outcome is known then."""
        assert self._process is not None
        pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        if not pid:
            return False
        self.code = self._process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = time.monotonic() - self._started
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        if self._durations.exists():
            for case in ElementTree.parse(self._durations).iter("testcase"):
                name = f"{case.get('classname')}::{case.get('name')}"
                self.tests[name] = float(case.get("time") or 0)
                for problem in (*case.iter("failure"), *case.iter("error")):
                    self.failed[name] = (problem.get("message") or "").partition("\n")[0][:LONGEST_REASON]
        return True

    def interrupt(self) -> None:
        """Ask the process to end, as Ctrl-C does: pytest stops the services."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)

    def wait(self) -> None:
        """Wait until the process has ended."""
        assert self._process is not None
        self.code = self._process.wait()


def run(groups: Sequence[Group], jobs: int, options: Sequence[str]) -> None:
    """Run groups, so many at a time, and print the log of each when it ends."""
    waiting, running = list(groups), list[Group]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(waiting.pop(0))
                running[-1].start(options)
            time.sleep(0.2)
            for group in [group for group in running if group.ended()]:
                running.remove(group)
                print(f"\n{'=' * 20} {group.name}\n{group.log.read_text(errors='replace')}", flush=True)
    except KeyboardInterrupt:
        for group in running:
            group.interrupt()
        for group in running:
            group.wait()
        raise


def main() -> None:
    """Run every group, and print what took long and which groups failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=4, help="how many groups run at a time")
    parser.add_argument("--only", nargs="*", choices=GROUPS, help="these groups only")
    arguments, options = parser.parse_known_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # who cancels the tests leaves no service behind
    LOGS.mkdir(parents=True, exist_ok=True)
    files = [str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "tests").rglob("test_*.py")]
    groups = [Group(name, found) for name, found in split(files).items() if name in (arguments.only or GROUPS)]
    started = time.monotonic()
    run(groups, arguments.jobs, options)

    print(f"\n{'=' * 20} slowest {SLOWEST} tests")
    durations = [(seconds, name) for group in groups for name, seconds in group.tests.items()]
    for seconds, name in sorted(durations, reverse=True)[:SLOWEST]:
        print(f"{seconds:7.1f} s  {name}")
    print(f"{'=' * 20} groups")
    for group in groups:
        outcome = "passed" if group.code == 0 else f"FAILED (exit code {group.code}; {group.log})"
        print(
            f"{group.seconds:7.1f} s {group.cpu_seconds:7.1f} CPU s {len(group.tests):5} tests  {group.name} {outcome}"
        )
    print(f"{time.monotonic() - started:7.1f} s in all")
    # The last lines, because who sees only the end of a log must see which test failed.
    for group in groups:
        for name, reason in group.failed.items():
            print(f"FAILED {name}: {reason}")
    sys.exit(any(group.code not in (0, NO_TESTS if options else 0) for group in groups))


if __name__ == "__main__":
    main()
