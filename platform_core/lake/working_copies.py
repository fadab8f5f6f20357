"""The copies of small Bronze files that a job reads: how they are called, and which are there.

Making one and reading it belongs to `spark_jobs.reading.working_copy`. A copy goes with its job, or with the next job
of its date when that one was killed; who forgets a person looks for those whose date has none.
"""

from __future__ import annotations

import re
import uuid
from datetime import date
from typing import NamedTuple

import pyarrow.fs as pafs

from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering


class WorkingCopy(NamedTuple):
    """A copy that is there.

    Attributes:
        day: The date whose files were copied.
        path: As the lake's file system has it.
    """

    day: date
    path: str


def new_name(lake: Lake, domain: str, day: date) -> str:
    """Return a name that no copy has, as a path below the lake's root."""
    return f"{lake.working_copies}/{domain}-{day.isoformat()}-{uuid.uuid4().hex}.parquet"


def working_copies(lake: Lake, domain: str) -> list[WorkingCopy]:
    """Return the copies of a domain's dates, whole or not.

    Raises:
        TransientError: the store did not answer.
    """
    name = re.compile(rf"{re.escape(domain)}-(\d{{4}}-\d\d-\d\d)-[^-]+\.parquet")
    with answering(lake.uri(lake.working_copies), "listed"):
        infos = lake.filesystem.get_file_info(pafs.FileSelector(lake.path(lake.working_copies), allow_not_found=True))
    named = [(name.fullmatch(info.base_name), info.path) for info in infos]
    return [WorkingCopy(date.fromisoformat(match[1]), path) for match, path in named if match]
