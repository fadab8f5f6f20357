"""DuckDB comes after all else, and a process ends without looking at what was there before it."""

from __future__ import annotations

import subprocess
import sys

from platform_core.settings import REPOSITORY

PROCESS = """
import gc, sys
import audit.run, processing.one_date
assert "duckdb" not in sys.modules, "it is imported before it is used"
from platform_core.lake.duckdb_memory import database
with database() as connection:
    assert connection.execute("select 1").fetchall() == [(1,)]
import duckdb
looked_at = gc.get_objects()
print(gc.get_freeze_count() > len(looked_at), any(each is duckdb.DuckDBPyConnection for each in looked_at))
"""


def test_what_is_imported_before_duckdb_is_left_out_of_looks_for_garbage_and_duckdb_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", PROCESS], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
    assert done.stderr == "", "DuckDB reports what it has not been able to free"
