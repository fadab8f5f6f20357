"""How a process of `pdp` ends: with its command's exit code, whatever threads of a reader are still at work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.settings import REPOSITORY

COMMAND = """
import sys, threading, time
import pyarrow as pa, pyarrow.dataset as ds, pyarrow.fs as pafs
from deltalake.fs import DeltaStorageHandler
from pdp import cli

folder, code = sys.argv[1:]
opens = threading.Event()

class Slow(DeltaStorageHandler):
    def open_input_file(self, path):
        if path == "slow":
            opens.set()
            time.sleep(5)
        return super().open_input_file(path)

def command():
    global batches  # whoever drops it waits for the file
    print("answered")
    files = pafs.PyFileSystem(Slow(folder))
    scan = ds.dataset(["quick", "slow"], format="parquet", filesystem=files, schema=schema).scanner()
    batches = scan.to_batches()
    next(batches)
    opens.wait(60)
    sys.exit(int(code))

schema = pa.schema([("number", pa.int64())])
cli.app = command
cli.main()
"""


def test_a_file_that_is_still_being_opened_does_not_abort_a_command_that_is_done(tmp_path: Path) -> None:
    for name in ("quick", "slow"):
        pq.write_table(pa.table({"number": [1]}), tmp_path / name)
    command = [sys.executable, "-c", COMMAND, str(tmp_path), "3"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (3, "answered\n"), done.stderr
