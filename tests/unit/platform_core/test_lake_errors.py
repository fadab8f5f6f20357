"""What a store that fails means for who opens, creates and tidies a table: a sentence, and the type that says wait."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from platform_core.errors import ServiceDownError, TransientError
from platform_core.lake.contended_table import CHECKPOINT_EVERY_COMMITS, ContendedTable
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering
from tests.rigs.lake.told_store import told_store
from tests.rigs.settings_of import settings_of

SCHEMA = pa.schema([("n", pa.int64())])
COLOURED = "Generic S3 error\n          \x1b[31m↳\x1b[0m Error performing PUT"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(COLOURED), TransientError),
        (DeltaError("Failed to parse parquet: External: Generic S3 error"), TransientError),
        (CommitFailedError("Metadata changed since last commit."), TransientError),
        (OSError("error sending request: tcp connect error: Connection refused (os error 111)"), ServiceDownError),
        (OSError("operation timed out"), ServiceDownError),
    ],
)
def test_what_clients_raise_is_one_line_that_names_the_table(error: Exception, kind: type[Exception]) -> None:
    with (
        pytest.raises(TransientError, match=r"`s3://lake/t` could not be written: .*`LAKE_URI`") as raised,
        answering("s3://lake/t", "written"),
    ):
        raise error
    assert type(raised.value) is kind
    assert "\n" not in raised.value.message and "\x1b" not in raised.value.message


@pytest.mark.parametrize("error", [TableNotFoundError("no table"), ValueError("a defect")])
def test_what_is_no_failure_of_the_store_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), answering("s3://lake/t", "opened"):
        raise error


def test_a_new_table_meets_a_store_that_fails() -> None:
    empty = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    with told_store(GET=[(200, empty)], PUT=[(500, "<Error><Code>InternalError</Code></Error>")]) as store:
        table = ContendedTable(Lake(store.settings(s3_max_attempts=1)), "pipeline-metadata/t", SCHEMA)
        with pytest.raises(TransientError, match=r"`s3://lake/below/pipeline-metadata/t` could not be created"):
            table.open_or_create()
        assert any(each.startswith("PUT") for each in store.asked)


def test_a_store_that_refuses_connections_is_down() -> None:
    with told_store() as store:
        settings = store.settings(s3_max_attempts=1)
    with pytest.raises(ServiceDownError, match=r"`s3://lake/below/silver/orders` could not be opened"):
        Lake(settings).delta("silver/orders")


def committed(lake: Lake, table: ContendedTable) -> DeltaTable:
    write_deltalake(table.open_or_create(), pa.table({"n": [1]}, SCHEMA), mode="append")
    return lake.delta("t")


def test_whoever_opens_a_contended_table_reads_few_commits(tmp_path: Path) -> None:
    lake = Lake(settings_of({"LAKE_URI": str(tmp_path)}))
    table = ContendedTable(lake, "t", SCHEMA)
    for _ in range(CHECKPOINT_EVERY_COMMITS + 1):
        table.tidy(committed(lake, table))
    assert [each.name for each in (tmp_path / "t" / "_delta_log").glob("*.checkpoint.parquet")] == [
        f"{CHECKPOINT_EVERY_COMMITS:020}.checkpoint.parquet"
    ]


def test_a_commit_stands_though_the_table_could_not_be_tidied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: DeltaTable) -> None:
        tried.append(1)
        raise OSError(COLOURED)

    tried: list[int] = []
    monkeypatch.setattr(DeltaTable, "create_checkpoint", failing)
    lake = Lake(settings_of({"LAKE_URI": str(tmp_path)}))
    table = ContendedTable(lake, "t", SCHEMA)
    for _ in range(CHECKPOINT_EVERY_COMMITS):
        table.tidy(committed(lake, table))
    assert tried
