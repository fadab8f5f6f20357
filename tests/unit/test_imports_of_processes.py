"""What stays in memory for as long as a process runs: one that is started by the dozen loads what it uses."""

from __future__ import annotations

import subprocess
import sys

import pytest

from platform_core.settings import REPOSITORY

LAKE_CLIENTS = ("numpy", "pyarrow", "deltalake", "pandas")
"""Together 25 MB of a process's own."""


CODE_SERVER = (
    "platform_core.lake.without_pandas as it; it.leave_pandas_out('pyarrow.dataset');"
    "import pyarrow as pa, dagster._grpc.server, platform_assets.definitions; pa.Table.from_pylist([{'rows': 1}])"
)


@pytest.mark.parametrize(
    ("modules", "unused"),
    [
        ("producers.__main__, producers.live", LAKE_CLIENTS),
        ("simulation.cli, simulation.live", LAKE_CLIENTS[1:]),
        ("sink.__main__", ("deltalake", "pandas")),
        (CODE_SERVER, ("pandas", "duckdb")),
        ("warehouse.connection as it; it.connector()", ("botocore", "boto3", "s3transfer")),
    ],
)
def test_a_process_that_stays_loads_no_client_that_it_does_not_use(modules: str, unused: tuple[str, ...]) -> None:
    code = f"import sys, {modules}\nprint(*sorted({{*{unused!r}}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
