"""A cold date of Bronze gets few files: the same rows, still DONE, right wherever it is killed, and correctable."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.file_offsets import FileOffsets
from audit.report import Kind, Reason
from audit.stages import bronze_to_silver
from erasure import bronze as erasure
from erasure.subject import Holder
from maintenance.cold_bronze import dates, grouping, merging
from maintenance.cold_bronze.dates import ColdDates
from platform_core.errors import PermanentError, TransientError
from platform_core.lake import bronze_compaction
from platform_core.lake.bronze_compaction import UnreadableNoteError, note_name, pointer_name
from platform_core.lake.lake import Lake
from platform_core.lake.store import LakeStore
from platform_core.partitions.partition_meta import Change, StateConflictError
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.partitions.plan import TickPlan
from platform_core.settings import Settings
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges
from processing.claim import Claimed, Claims
from processing.context import RunContext
from tests.rigs.lake.audit_lake import FIRST_DAY
from tests.rigs.lake.cold_rig import FILES, REPLACED, ColdRig, with_footer


class KilledError(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ColdRig:
    return ColdRig(Settings(lake_uri=str(tmp_path_factory.mktemp("cold") / "lake")), make=True)


@pytest.fixture
def rig(template: ColdRig, tmp_path: Path) -> ColdRig:
    return template.copy(tmp_path / "lake")


def test_the_same_rows_in_few_files_and_the_date_stays_done(rig: ColdRig) -> None:
    before, seen = rig.rows(), rig.turn()
    assert seen is not None and (seen.files_before, seen.files, seen.removed) == (FILES, len(rig.names), 0)
    assert len(rig.names) == 2 and rig.rows().equals(before)
    assert rig.on_disk == FILES + 1, "who has listed the old files reads them still"
    assert rig.turn(minutes=50) == ColdDates(2, 2, seen.bytes)
    assert rig.turn(minutes=20) == ColdDates(2, 2, seen.bytes, removed=REPLACED)
    assert rig.on_disk == 2 and not bronze_compaction.open_compactions(rig.lake, rig.domain)
    assert rig.turn() == ColdDates(2, 2, seen.bytes)
    assert rig.rows().equals(before)
    for name in (name for name in rig.names if "/compacted-" in name):
        rows = pq.read_table(rig.lake.path(name), partitioning=None)
        offsets = list(zip(rows["_partition"].to_pylist(), rows["_offset"].to_pylist(), strict=True))
        assert offsets == sorted(set(offsets))
    assert rig.decide() == TickPlan()
    row = rig.meta.get("orders", FIRST_DAY)
    assert row is not None and (row.status, list(row.source_files)) == (State.DONE, rig.names)
    audited = bronze_to_silver.compare(rig.lake, rig.domain, FIRST_DAY, row.source_files)
    assert audited.problems == () and audited.explained[Reason.DELIVERED_AGAIN] > 0
    read = FileOffsets()
    read.read(rig.lake, rig.names)
    assert (read.rows, read.lying) == (before.num_rows, [])


def test_a_domain_that_does_not_ask_is_left_alone(rig: ColdRig) -> None:
    rig.domain = rig.made.domain
    assert rig.turn() is None and rig.on_disk == FILES


def test_what_was_begun_is_ended_when_the_domain_does_not_ask_any_more(rig: ColdRig) -> None:
    rig.turn()
    rig.domain = rig.made.domain
    assert rig.turn(hours=2) == ColdDates(removed=REPLACED)


def steps(monkeypatch: pytest.MonkeyPatch, kill_at: int) -> Iterator[None]:
    """Let the process end before its n-th write to the lake, counted from 0; between two writes nothing changes."""
    writes = 0

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal writes
            if writes == kill_at:
                raise KilledError
            writes += 1
            return real(*args, **named)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(LakeStore, "put", watched(LakeStore.put))
        patched.setattr(DeltaPartitionMeta, "apply", watched(DeltaPartitionMeta.apply))
        patched.setattr(bronze_compaction, "_remove", watched(bronze_compaction._remove))
        patched.setattr(bronze_compaction, "PARALLEL_DELETES", 1)
        yield


def test_killed_anywhere_it_is_the_old_or_the_new_date_and_the_next_turns_end_it(
    template: ColdRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, kill_at, killed = template.rows(), 0, True
    while killed:
        rig, killed = template.copy(tmp_path / str(kill_at)), False
        for _ in steps(monkeypatch, kill_at):
            try:
                rig.turn()
                rig.turn(hours=2)
            except KilledError:
                killed = True
        assert rig.rows().equals(before), kill_at
        assert rig.decide() == TickPlan(), kill_at
        if killed:
            rig.turn(hours=2)
            assert rig.rows().equals(before) and rig.decide() == TickPlan(), kill_at
            rig.turn(hours=2)
        assert rig.on_disk == len(rig.names) == 2 and rig.rows().equals(before), kill_at
        assert not [*Path(rig.lake.root).rglob("*compaction*.json")], kill_at
        kill_at += 1 if kill_at < 6 or kill_at > 16 else 11  # the files that go one after another are one case
    assert kill_at == 21, "two notes, a file, a compare-and-set, a note; 13 files and two notes that go"


def test_a_state_that_is_put_back_between_two_killed_turns_loses_no_row(
    rig: ColdRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, states = rig.rows(), rig.lake.path(rig.lake.partition_meta)
    shutil.copytree(states, tmp_path / "older")
    for _ in steps(monkeypatch, 4):
        with suppress(KilledError):
            rig.turn()  # the new files count, and the note does not say so yet
    for _ in steps(monkeypatch, 3):
        with suppress(KilledError):
            rig.turn(hours=2)  # some of the old ones are gone
    assert len(rig.names) == 2 < rig.on_disk < FILES + 1
    shutil.rmtree(states)
    shutil.copytree(tmp_path / "older", states)
    rig.turn(hours=2)
    assert rig.rows().equals(before) and rig.on_disk == 2


@pytest.mark.parametrize("killed", [False, True])
def test_a_state_that_is_put_back_between_the_swap_and_its_note_loses_no_row_and_keeps_none_twice(
    rig: ColdRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    before, states, apply = rig.rows(), rig.lake.path(rig.lake.partition_meta), DeltaPartitionMeta.apply
    shutil.copytree(states, tmp_path / "older")

    def put_back(*arguments: Any) -> Any:
        swapped = apply(*arguments)
        shutil.rmtree(states)
        shutil.copytree(tmp_path / "older", states)
        if killed:
            raise KilledError
        return swapped

    with monkeypatch.context() as patched, suppress(KilledError):
        patched.setattr(DeltaPartitionMeta, "apply", put_back)
        rig.turn()
    assert rig.rows().equals(before)
    for _ in range(3):
        rig.turn(hours=2)
        assert rig.rows().equals(before)
    assert rig.on_disk == len(rig.names) == 2
    named_still = rig.decide().missing.get(FIRST_DAY, [])
    assert len(named_still) == (0 if killed else REPLACED), "a person is told, and the date keeps what is published"


def test_a_note_that_cannot_be_read_stops_its_date_alone(rig: ColdRig) -> None:
    later = FIRST_DAY + timedelta(days=1)
    rig.made.history(later, 30)
    files = rig.made.write_bronze(later, rig.made.records[later], REPLACED)
    for name in files:
        with_footer(rig.lake, rig.domain, name)
    rig.made.done(later, files)
    note, pointer = (name(rig.lake, rig.domain, FIRST_DAY) for name in (note_name, pointer_name))
    for name in (note, pointer):
        LakeStore(rig.lake).put(name, pa.py_buffer(b"spoilt"))
    for _ in range(2):
        with pytest.raises(PermanentError, match=re.escape(note)):
            rig.turn(hours=2)
    assert len(rig.lake.list_folder(rig.domain, FIRST_DAY)[0]) == FILES
    assert len(rig.lake.list_date(rig.domain, later)) < REPLACED


@pytest.mark.parametrize("swapped", [False, True])
def test_without_its_note_a_date_is_corrected_from_all_its_files(
    rig: ColdRig, monkeypatch: pytest.MonkeyPatch, swapped: bool
) -> None:
    before = rig.rows()
    for _ in steps(monkeypatch, 4 if swapped else 3):
        with suppress(KilledError):
            rig.turn()
    Path(rig.lake.path(note_name(rig.lake, rig.domain, FIRST_DAY))).write_bytes(b"[]")
    with pytest.raises(UnreadableNoteError, match="remove it"):
        rig.lake.list_date(rig.domain, FIRST_DAY)
    with pytest.raises(UnreadableNoteError):
        erasure.end_compactions(rig.lake, Holder(rig.domain, "order_id", 5), rig.clock)
    Path(rig.lake.path(note_name(rig.lake, rig.domain, FIRST_DAY))).unlink()
    assert next(change.event for change in rig.decide().changes) is Event.FILES_CHANGED
    places = [(row["_partition"], row["_offset"]) for row in before.to_pylist()]
    assert {(row["_partition"], row["_offset"]) for row in rig.rows().to_pylist()} == set(places)
    for _ in range(2):
        rig.turn(hours=2)
    assert len(rig.names) == rig.on_disk == FILES + 1, "nothing says any more which of them may go"


def test_new_files_stay_when_an_old_one_is_gone(rig: ColdRig, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in steps(monkeypatch, 3):
        with suppress(KilledError):
            rig.turn()  # the new file is there, and does not count yet
    Path(rig.lake.path(rig.names[0])).unlink()
    rig.turn(hours=2)
    assert rig.on_disk == FILES, "its rows are in the new file"


def test_a_turn_that_may_be_at_work_is_not_undone_by_another(rig: ColdRig, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in steps(monkeypatch, 3):
        with suppress(KilledError):
            rig.turn()
    assert bronze_compaction.open_compactions(rig.lake, rig.domain) == [FIRST_DAY]
    on_disk = rig.on_disk
    rig.turn(minutes=30)
    assert rig.on_disk == on_disk
    with pytest.raises(TransientError, match="compacting"):
        erasure.end_compactions(rig.lake, Holder(rig.domain, "order_id", 5), rig.clock)


@pytest.mark.parametrize("spoil", ["lost", "doubled", "changed", "footer"])
def test_a_new_file_that_has_not_the_rows_of_the_old_ones_never_counts(
    rig: ColdRig, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    encode, before = merging._encoded, rig.rows()

    def spoilt(rows: pa.Table, footer: BronzeFooter) -> pa.Buffer:
        if spoil == "lost":
            rows = rows.slice(1)
        elif spoil == "doubled":
            rows = pa.concat_tables([rows.slice(1), rows.slice(1, 1)])
        elif spoil == "changed":
            at = rows.schema.get_field_index("city")
            rows = rows.set_column(at, rows.schema.field(at), pa.array(["Bergen", *rows["city"].to_pylist()[1:]]))
        else:
            footer = BronzeFooter(footer.domain, footer.topic, {0: OffsetRanges.of((0, 3))}).named("a/b")
        return encode(rows, footer)

    monkeypatch.setattr(merging, "_encoded", spoilt)
    rig.turn()
    assert rig.on_disk == FILES and rig.rows().equals(before) and rig.decide() == TickPlan()
    assert not bronze_compaction.open_compactions(rig.lake, rig.domain)


@pytest.mark.parametrize("mutant", ["lost", "doubled"])
def test_the_audit_sees_a_row_that_a_compacted_file_lost_or_has_twice(rig: ColdRig, mutant: str) -> None:
    rig.turn()
    name = max(rig.names, key=lambda each: pq.read_metadata(rig.lake.path(each)).num_rows)
    rows = pq.read_table(rig.lake.path(name), partitioning=None)
    changed = rows.slice(1) if mutant == "lost" else pa.concat_tables([rows, rows.slice(0, 1)])
    pq.write_table(changed, rig.lake.path(name))
    read = FileOffsets()
    read.read(rig.lake, rig.names)
    assert read.lying == [name]
    kinds = {problem.kind for problem in bronze_to_silver.compare(rig.lake, rig.domain, FIRST_DAY, rig.names).problems}
    assert kinds == ({Kind.PHANTOM} if mutant == "lost" else set())


@pytest.mark.parametrize("at_rest", [False, True])
def test_a_late_file_is_corrected_as_ever(rig: ColdRig, at_rest: bool) -> None:
    rig.turn()
    if at_rest:
        rig.turn(hours=2)
    late = rig.late_file()
    compacted = rig.names
    assert late in compacted and len(compacted) == 3
    [late_change] = [change for change in rig.decide().changes if change.event is Event.FILES_CHANGED]
    rig.meta.apply([late_change])
    rig.clock.advance(seconds=1)
    run = RunContext(rig.made.settings, rig.lake, rig.domain, rig.meta, "run-2", False, rig.clock)
    claim = Claims(run, lambda _: False, lambda _: None).claim(FIRST_DAY)
    assert isinstance(claim, Claimed) and list(claim.files) == compacted
    started = rig.meta.history("orders", FIRST_DAY)[-1].facts
    assert (started["new_files"], started["gone_files"]) == (1, 0)


def test_a_date_with_a_late_file_waits_for_its_correction(rig: ColdRig) -> None:
    rig.late_file()
    rig.turn()
    assert rig.on_disk == FILES + 1


def test_a_date_that_discovery_compared_before_the_swap_does_not_become_late_by_it(rig: ColdRig) -> None:
    row = rig.meta.get("orders", FIRST_DAY)
    assert row is not None
    rig.turn()
    with pytest.raises(StateConflictError, match="other files than were compared"):
        rig.meta.apply([Change("orders", FIRST_DAY, State.DONE, Event.FILES_CHANGED, made_of=row.file_hash)])


def test_a_run_that_claimed_the_date_meanwhile_keeps_its_files(rig: ColdRig, monkeypatch: pytest.MonkeyPatch) -> None:
    before, merge = rig.names, merging.merge

    def claimed_meanwhile(*args: Any) -> None:
        merge(*args)
        if rig.meta.rows("orders")[0].status is State.DONE:
            rig.meta.apply([Change("orders", FIRST_DAY, State.DONE, Event.RESET)])

    monkeypatch.setattr("maintenance.cold_bronze.dates.merge", claimed_meanwhile)
    rig.turn()
    assert rig.names == before and rig.on_disk == FILES


def test_a_run_that_listed_the_date_before_the_swap_does_not_claim_replaced_files(
    rig: ColdRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunContext(rig.made.settings, rig.lake, rig.domain, rig.meta, "run-2", False, rig.clock)
    claims = Claims(run, lambda _: False, lambda _: None)
    compare = claims._difference

    def swapped_meanwhile(*args: Any) -> Any:
        rig.turn()
        return compare(*args)

    with monkeypatch.context() as patched, pytest.raises(StateConflictError, match="other files than were compared"):
        patched.setattr(claims, "_difference", swapped_meanwhile)
        claims.claim(FIRST_DAY)
    assert rig.decide() == TickPlan()
    claim = claims.claim(FIRST_DAY)
    assert isinstance(claim, Claimed) and list(claim.files) == rig.names


@pytest.mark.parametrize("at", ["describe", "merge"])
def test_two_turns_at_once_leave_the_rows_once(rig: ColdRig, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    before, real, turns = rig.rows(), getattr(dates, at), 0

    def other_turn(*args: Any) -> Any:
        nonlocal turns
        turns += 1
        result = real(*args)
        if turns == 1:
            # By the other turn's listing of notes there was none at the date.
            with monkeypatch.context() as patched:
                patched.setattr(dates, "open_compactions", lambda *_: [])
                rig.turn()
        return result

    monkeypatch.setattr(dates, at, other_turn)
    rig.turn()
    assert rig.rows().equals(before) and rig.decide() == TickPlan()
    rig.turn(hours=2)
    assert rig.on_disk == len(rig.names) == 2 and rig.rows().equals(before)


def test_a_turn_whose_note_was_replaced_leaves_no_file(rig: ColdRig, monkeypatch: pytest.MonkeyPatch) -> None:
    real = merging.merge

    def replaced(*args: Any) -> None:
        real(*args)
        note = bronze_compaction.CompactionNote("another", frozenset(), frozenset())
        name = bronze_compaction.note_name(rig.lake, rig.domain, FIRST_DAY)
        LakeStore(rig.lake).put(name, pa.py_buffer(note.to_json()))

    monkeypatch.setattr(dates, "merge", replaced)
    with pytest.raises(TransientError, match="another process"):
        rig.turn()
    assert rig.on_disk == FILES and rig.decide() == TickPlan()


@pytest.mark.parametrize("meanwhile", ["begun", "ended"])
def test_a_folder_whose_note_came_or_went_while_it_was_read_is_read_again(
    rig: ColdRig, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    before, read = rig.rows(), Lake.list_folder
    if meanwhile == "ended":
        rig.turn()

    def changing(*args: Any) -> Any:
        """Files of two moments, as a folder is read entry by entry."""
        with monkeypatch.context() as patched:
            patched.setattr(Lake, "list_folder", read)
            old = read(*args)[0]
            rig.turn(hours=2)
            both = {file.name: file for file in [*old, *read(*args)[0]]}
        monkeypatch.setattr(Lake, "list_folder", read)
        return list(both.values()), None

    monkeypatch.setattr(Lake, "list_folder", changing)
    assert len(rig.names) == 2
    assert rig.rows().equals(before) and rig.decide() == TickPlan()


def test_files_by_which_a_sink_recognises_records_stay(rig: ColdRig) -> None:
    journal = Path(rig.lake.path(rig.lake.sink_journal))
    journal.mkdir(parents=True)
    (journal / "1.json").write_text(f'{{"written_at": "2026-11-01T00:00:00+00:00", "files": ["{rig.names[0]}"]}}')
    rig.turn()
    assert rig.on_disk == FILES


def test_a_damaged_file_leaves_its_date_alone(rig: ColdRig) -> None:
    Path(rig.lake.path(rig.names[0])).write_bytes(b"PAR1 nonsense")
    rig.turn()
    assert rig.on_disk == FILES and not bronze_compaction.open_compactions(rig.lake, rig.domain)


def test_a_person_is_erased_from_what_was_compacted_and_from_what_it_replaced(rig: ColdRig) -> None:
    rig.turn()
    holder = Holder(rig.domain, "order_id", 5)
    assert sum(file.of_subject for file in erasure.search(rig.lake, holder)) > 1, "the replaced files have it still"
    assert erasure.end_compactions(rig.lake, holder, rig.clock) == REPLACED
    gone = [erasure.rewrite(rig.lake, holder, file) for file in erasure.search(rig.lake, holder) if file.of_subject]
    for each in gone:
        erasure.delete(rig.lake, each.file.name)
    assert gone and sum(file.of_subject for file in erasure.search(rig.lake, holder)) == 0
    read = FileOffsets()
    read.read(rig.lake, rig.names)
    assert read.lying == [] and read.erased


def described(name: str, rows: int, first: int, *, size: int = 1, columns: bytes = b"a") -> grouping.SmallFile:
    offsets = {0: OffsetRanges.of((first, first + rows - 1))}
    return grouping.SmallFile(name, rows, size, columns, BronzeFooter("d", "t", offsets))


def test_a_group_is_bounded_and_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "GROUP_ROWS", 25)
    monkeypatch.setattr(grouping, "GROUP_BYTES", 100)
    files = [described(f"p{n}", 10, 10 * n) for n in range(5)]
    assert [[file.name for file in group] for group in grouping.grouped(files)] == [["p0", "p1"], ["p2", "p3"]]
    large = [described("p0", 1, 0, size=90), described("p1", 1, 1, size=9), described("p2", 1, 2, size=9)]
    assert [[file.name for file in group] for group in grouping.grouped(large)] == [["p0", "p1"]]
    columns = [described(f"p{n}", 1, n, columns=b"ab"[n % 2 : n % 2 + 1]) for n in range(4)]
    assert [[file.name for file in group] for group in grouping.grouped(columns)] == [["p0", "p2"], ["p1", "p3"]]
    again = [described("p0", 2, 0), described("p1", 2, 2), described("p2", 2, 1), described("p3", 2, 9)]
    assert [[file.name for file in group] for group in grouping.grouped(again)] == [["p0", "p1", "p3"]]
