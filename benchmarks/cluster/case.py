"""The case `cluster`: one date of ten million events on two workers of 1 GiB each.

It fails when an executor is lost or has more resident than its worker may give: then the date did not run through.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.cluster.bronze import write_large_day
from benchmarks.day.case import DAY, JOBS
from benchmarks.frame import Case, Contestant
from benchmarks.usage import ProgramFailedError, Usage, of_program, resident_bytes
from infra.embedded.services.spark.cluster import SparkCluster
from infra.embedded.services.spark.properties import mebibytes
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY, Settings

EVENTS = 10_000_000
COPY_EVENTS = 200_000
WORKERS, WORKER_MEMORY = 2, "1g"

_MEBIBYTE = 2**20
_SAMPLE_SECONDS = 0.2


@contextmanager
def prepared(folder: Path, events: int | None) -> Iterator[Case]:
    """Make the date, start the cluster, and offer it as the only contestant.

    Args:
        folder: Gets Bronze and the cluster's files.
        events: Events of the date, at least 200,000.
    """
    copies = max(1, (events or EVENTS) // COPY_EVENTS)
    domain = load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"]
    lake, scratch = (Lake(Settings(lake_uri=str(folder / name))) for name in ("lake", "scratch"))  # type: ignore[call-arg]
    rows = write_large_day(lake, scratch, domain, DAY, COPY_EVENTS, copies)
    with SparkCluster(folder / "spark", workers=WORKERS, memory=WORKER_MEMORY) as cluster:
        yield Case(
            name="cluster",
            title=f"A large date of events, Bronze → Silver → Gold, on {WORKERS} workers of {WORKER_MEMORY}",
            size=f"{rows:,} rows",
            contestants=[Contestant("Spark on a cluster", partial(_process, cluster, Path(lake.uri("bronze"))))],
            units=rows,
            unit="rows",
        )


def _process(cluster: SparkCluster, bronze: Path, folder: Path) -> Usage:
    lake = folder / "lake"
    lake.mkdir(parents=True)
    (lake / "bronze").symlink_to(bronze)
    services = {"driver": cluster, "master": cluster.master}
    services |= {f"worker {number}": worker for number, worker in enumerate(cluster.workers, 1)}
    pids = {name: service.pid for name, service in services.items() if service.pid is not None}
    with _peaks(pids) as peaks:
        used = of_program(JOBS, folder / "log", {"LAKE_URI": str(lake), **cluster.env()}, list(pids.values()))
    print(", ".join(f"{name} {peak // _MEBIBYTE} MiB" for name, peak in peaks.items()), "at most resident")
    _refuse_what_broke_the_limits(cluster, peaks)
    return used


@contextmanager
def _peaks(pids: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Yield the most that each service had resident during the block; of a worker, what its executors had."""
    peaks, ended = dict.fromkeys(pids, 0), threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            for name, pid in pids.items():
                own = resident_bytes(pid, children_only=name.startswith("worker"))
                peaks[name] = max(peaks[name], own)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def _refuse_what_broke_the_limits(cluster: SparkCluster, peaks: Mapping[str, int]) -> None:
    limit = mebibytes(WORKER_MEMORY) * _MEBIBYTE
    if above := [name for name, peak in peaks.items() if name.startswith("worker") and peak > limit]:
        raise ProgramFailedError(f"The executor of {above[0]} had {peaks[above[0]]:,} bytes resident of {limit:,}.")
    lost = [line for line in cluster.log.read_text().splitlines() if "Lost executor" in line]
    if lost:
        raise ProgramFailedError(f"An executor was lost: {lost[0]}")
