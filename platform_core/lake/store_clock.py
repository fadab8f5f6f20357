"""The store's clock beside our own: how old a file is must not depend on which of the two is wrong.

A store stamps its files by its own clock. What an age decides belongs to `platform_core.partitions.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from platform_core.clock import Clock
from platform_core.errors import TransientError
from platform_core.lake.lake import BronzeFile, Lake
from platform_core.lake.lake_errors import TRY_AGAIN

YOUNG = timedelta(hours=1)
"""An older file is older than any settle interval, unless clocks are hours apart."""


def by_our_clock(
    lake: Lake, name: str, bronze: Mapping[date, Sequence[BronzeFile]], clock: Clock
) -> dict[date, list[BronzeFile]]:
    """Return listed files with times of our clock, for which the store is asked for its own when a file is young.

    Args:
        lake: Where a small object is written to learn the store's time.
        name: Of the caller; two that write the same object would wait for each other on some stores.
        bronze: Dates with their files.

    Raises:
        TransientError: the store did not answer.
    """
    now = clock.now()
    young = {day for day, files in bronze.items() if any(abs(now - file.modified_at) < YOUNG for file in files)}
    result = {day: list(files) for day, files in bronze.items()}
    if not young:
        return result
    ahead = _store_time_ahead(lake, name, clock)
    for day in young:
        result[day] = [replace(file, modified_at=file.modified_at - ahead) for file in result[day]]
    return result


def _store_time_ahead(lake: Lake, name: str, clock: Clock) -> timedelta:
    path = lake.path(f"{lake.store_clock}/{name}")
    try:
        if lake.is_local:
            lake.filesystem.create_dir(path.rpartition("/")[0])
        with lake.filesystem.open_output_stream(path) as stream:
            stream.write(b"The store's time is that of this object.\n")
        written = lake.filesystem.get_file_info(path).mtime
    except OSError as error:
        raise TransientError(f"`{lake.uri(lake.store_clock)}` could not be written: {error}. {TRY_AGAIN}") from error
    ahead: timedelta = written - clock.now()
    # Some stores stamp whole seconds, and the answer takes its time: less is no difference of clocks.
    return ahead if abs(ahead) > timedelta(seconds=3) else timedelta(0)
