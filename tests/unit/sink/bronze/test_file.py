from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.offset_ranges import OffsetRanges
from sink.bronze.file import TRANSITIONS, FileState, IllegalTransitionError, PendingFile
from sink.records.buffer import ROW_OVERHEAD_BYTES, Buffer, SealReason
from tests.rigs.sink.samples import NOW, rows_of

DAY = date(2026, 3, 1)
BOTH = {("t", 0): 2, ("t", 1): 6}


def sealed() -> PendingFile:
    buffer = Buffer("t", DAY, 0.0)
    buffer.add(rows_of((0, 0, None), (0, 1, None), (1, 5, None)))
    return PendingFile(buffer, SealReason.ROWS)


def name(file: PendingFile) -> None:
    file.named("bronze/a.parquet")


def encode(file: PendingFile) -> None:
    offsets = {0: OffsetRanges.of((0, 1)), 1: OffsetRanges.of((5, 5))}
    file.encoded = (LedgerRecord("d", "t", DAY, file.name, 3, 4, offsets, NOW), pa.py_buffer(b"1234"))


STEPS = {
    "noted": lambda file: file.noted("journal/1"),
    "put": lambda file: (encode(file), file.put()),
    "in another": lambda file: file.found_in_another(),
    "committed": lambda file: file.committed(BOTH),
    "announced": lambda file: file.announced(),
    "given up": lambda file: file.revoke(set(BOTH)),
    "given up in part": lambda file: file.revoke({("t", 1)}),
}
WAYS = {
    FileState.SEALED: [],
    FileState.NOTED: ["noted"],
    FileState.PUT: ["noted", "put"],
    FileState.COMMITTED: ["noted", "put", "committed"],
    FileState.ANNOUNCED: ["noted", "put", "announced"],
    FileState.DONE: ["noted", "put", "committed", "announced"],
    FileState.IN_ANOTHER: ["noted", "in another"],
    FileState.LEFT: ["noted", "put", "given up"],
}
LEGAL = {
    (FileState.SEALED, "noted"): FileState.NOTED,
    (FileState.SEALED, "given up"): FileState.LEFT,
    (FileState.SEALED, "given up in part"): FileState.SEALED,
    (FileState.NOTED, "put"): FileState.PUT,
    (FileState.NOTED, "in another"): FileState.IN_ANOTHER,
    (FileState.NOTED, "given up"): FileState.LEFT,
    (FileState.NOTED, "given up in part"): FileState.SEALED,
    (FileState.PUT, "committed"): FileState.COMMITTED,
    (FileState.PUT, "announced"): FileState.ANNOUNCED,
    (FileState.PUT, "given up"): FileState.LEFT,
    (FileState.PUT, "given up in part"): FileState.LEFT,
    (FileState.COMMITTED, "committed"): FileState.COMMITTED,
    (FileState.COMMITTED, "announced"): FileState.DONE,
    (FileState.COMMITTED, "given up"): FileState.LEFT,
    (FileState.COMMITTED, "given up in part"): FileState.LEFT,
    (FileState.ANNOUNCED, "committed"): FileState.DONE,
    (FileState.ANNOUNCED, "given up"): FileState.LEFT,
    (FileState.ANNOUNCED, "given up in part"): FileState.LEFT,
}


def in_state(state: FileState) -> PendingFile:
    file = sealed()
    name(file)
    for step in WAYS[state]:
        STEPS[step](file)
    assert file.state is state
    return file


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", FileState)
def test_each_step_is_legal_in_its_states_and_refused_in_all_others(state, step):
    file = in_state(state)
    if (after := LEGAL.get((state, step))) is not None:
        STEPS[step](file)
        assert file.state is after
        return
    with pytest.raises(IllegalTransitionError, match=str(state)):
        STEPS[step](file)
    assert file.state is state


def test_the_table_has_what_the_steps_do_and_nothing_else():
    taken = {(state, after) for (state, _), after in LEGAL.items() if after is not state}
    assert taken == {(state, after) for state, following in TRANSITIONS.items() for after in following}


def test_its_rows_hold_offsets_back_until_they_are_in_the_store():
    for state, pending in (
        (FileState.SEALED, {("t", 0): 0, ("t", 1): 5}),
        (FileState.NOTED, {("t", 0): 0, ("t", 1): 5}),
    ):
        assert in_state(state).min_pending_offsets() == pending
    for state in (FileState.PUT, FileState.COMMITTED, FileState.ANNOUNCED, FileState.DONE):
        file = in_state(state)
        assert file.min_pending_offsets() == {} and not file.rows and file.size == 0 and file.encoded is None
        assert file.written.rows == 3


def test_an_offset_less_is_not_committed():
    for offsets in ({("t", 0): 1, ("t", 1): 6}, {("t", 0): 2, ("t", 1): 5}, {("t", 0): 2}, {}):
        file = in_state(FileState.PUT)
        file.committed(offsets)
        assert file.state is FileState.PUT


def test_rows_that_are_given_up_make_it_another_file():
    file = in_state(FileState.NOTED)
    encode(file)
    assert file.revoke({("t", 1), ("other", 0)})
    assert (file.rows.partitions, file.rows.offsets) == ([0, 0], [0, 1])
    assert file.min_pending_offsets() == {("t", 0): 0} and file.size == 2 * (200 + ROW_OVERHEAD_BYTES)
    assert (file.name, file.entry, file.encoded) == ("", "", None)
    assert file.may_be_in == ["bronze/a.parquet"], "the store may have the old file"


def test_what_was_never_noted_is_in_no_other_file():
    file = in_state(FileState.SEALED)
    assert file.revoke({("t", 1)}) and file.may_be_in == [] and file.name == ""


@pytest.mark.parametrize("state", [FileState.SEALED, FileState.NOTED, FileState.PUT])
def test_partitions_of_others_change_nothing(state):
    file = in_state(state)
    assert not file.revoke({("t", 2), ("other", 0)})
    assert file.state is state and file.name == "bronze/a.parquet"


def test_a_file_has_one_name_and_no_bytes_that_it_was_not_given():
    file = in_state(FileState.NOTED)
    with pytest.raises(IllegalTransitionError):
        name(file)
    with pytest.raises(IllegalTransitionError):
        _ = file.written
    with pytest.raises(IllegalTransitionError, match="not encoded"):
        file.put()
