"""The order of an erasure: what goes first, what must wait for what, and how far it has come.

The command may be ended and run again at any point: each step looks at what is there. Rows of Silver, Gold and the
warehouse are not touched here; they go when their date is processed again from Bronze without them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from audit.erasure_ledger import Erased, ErasureLedger
from erasure import bronze, delta_tables, source
from erasure.bronze import FileRows, Rewritten
from erasure.layers import Survey, survey, tables
from erasure.subject import Holder
from erasure.topics import Topics
from platform_core.clock import Clock
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering
from platform_core.lake.working_copies import working_copies
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.partition_meta import Change, Partition, PartitionMetaStore
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import Settings
from platform_kafka.offset_ranges import OffsetRanges


@dataclass
class Outcome:
    """What an erasure did.

    Attributes:
        before: The layers at its beginning.
        after: The layers at its end.
        rewritten: Bronze files that were replaced.
        waiting: Domain and date that must be processed before the next run can go on.
    """

    before: Survey
    after: Survey
    rewritten: int = 0
    waiting: list[tuple[str, date, State]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether no layer has anything of the subject."""
        return not self.after.of_subject and not self.waiting


class Erasure:
    """One run of the command.

    Args:
        kind: Of the subject.
        held: The domains that hold its records.
        operator: Who asks; the ledger remembers it.
        progress: Called with a line for each step.
    """

    def __init__(
        self,
        settings: Settings,
        lake: Lake,
        partitions: PartitionMetaStore,
        topics: Topics,
        *,
        kind: str,
        held: Sequence[Holder],
        operator: str,
        clock: Clock,
        progress: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._lake = lake
        self._partitions = partitions
        self._topics = topics
        self._kind = kind
        self._held = held
        self._operator = operator
        self._clock = clock
        self._progress = progress
        self._ledger = ErasureLedger(lake)
        self._erasure_id = uuid.uuid4().hex

    def survey(self) -> Survey:
        """Count what every layer has.

        Raises:
            TransientError: a service did not answer.
        """
        self._progress("Reading every layer to its end")
        return survey(self._settings, self._lake, self._topics, self._held)

    def run(self) -> Outcome:
        """Erase what can be erased now.

        Raises:
            PermanentError: the source still has the subject.
            TransientError: a service did not answer, or the sink has not read everything yet.
        """
        for holder in self._held:
            if removed := bronze.end_compactions(self._lake, holder, self._clock):
                self._progress(f"{holder.domain.name}: removed {removed} Bronze files that others have replaced")
        before = self.survey()
        self._refuse_live(before)
        outcome = Outcome(before, before)
        for holder in self._held:
            self._forget_copies(holder)
            self._forget_in_source(before, holder)
            self._forget_in_kafka(before, holder)
            for day, files in sorted(before.dates(holder.domain.name).items()):
                outcome.rewritten += self._rewrite_date(holder, day, files)
            outcome.waiting += self._forget_in_tables(before, holder)
        outcome.after = self.survey()
        return outcome

    def _refuse_live(self, found: Survey) -> None:
        tombstone_tables = {holder.domain.tombstone_table for holder in self._held}
        live = [
            line for line in found.lines
            if line.layer == "source" and line.place not in tombstone_tables and line.of_subject
        ]  # fmt: skip
        if live:
            listed = ", ".join(f"{line.of_subject} in `{line.place}`" for line in live)
            raise PermanentError(
                f"The source database still has rows of this {self._kind}: {listed}. They would be captured again with"
                " their next change; delete them there first, wait until `pdp lag` shows none, and run the command"
                " again. Nothing was changed.",
            )

    def _forget_copies(self, holder: Holder) -> None:
        """Remove copies of Bronze files that killed jobs have left; a date in flight removes its own."""
        for day, path in working_copies(self._lake, holder.domain.name):
            row = self._partitions.get(holder.domain.name, day)
            if row is None or row.status is not State.IN_FLIGHT:
                self._progress(f"{holder.domain.name} {day}: removing a copy that a killed job has left")
                with answering(path, "removed"):
                    self._lake.filesystem.delete_file(path)

    def _forget_in_source(self, before: Survey, holder: Holder) -> None:
        found = before.sources.get(holder.domain.name)
        if found is not None and found.tombstones:
            self._progress(f"{holder.domain.name}: deleting tombstones from {found.tombstone_table}")
            source.forget_tombstones(self._settings, found, holder)

    def _forget_in_kafka(self, before: Survey, holder: Holder) -> None:
        raw = before.topics[holder.domain.topic.name]
        if raw.of_subject:
            self._progress(f"{holder.domain.name}: deleting the beginning of {raw.topic}")
            self._topics.forget_raw(raw)
        for topic in self._topics.of_dead_letters(holder):
            found = before.topics[topic]
            if found.of_subject:
                self._progress(f"{holder.domain.name}: writing the other dead letters of {topic} again")
                self._ledger.record([self._entry(holder, None, topic, None, found.of_subject, found.origins)])
                self._topics.forget_dead_letters(found, holder)

    def _rewrite_date(self, holder: Holder, day: date, files: Sequence[FileRows]) -> int:
        bronze.end_compactions(self._lake, holder, self._clock)  # one that has begun since has copies of the rows
        row = self._partitions.get(holder.domain.name, day)
        if row is not None and row.status is State.IN_FLIGHT:
            raise TransientError(
                f"Run {row.run_id} is processing `{holder.domain.name}` {day} from the files that must be replaced."
                " Run the command again when it has ended.",
            )
        self._refuse_under_way(files)
        self._progress(f"{holder.domain.name} {day}: replacing {len(files)} of its Bronze files")
        rewritten = [bronze.rewrite(self._lake, holder, file) for file in files]
        self._ledger.record(
            [
                self._entry(holder, day, each.file.name, each.replaced_by, each.file.of_subject, each.offsets)
                for each in rewritten
            ]
        )
        # Before the old files go: discovery never sees a date that lost files which it did not expect to lose.
        if row is not None:
            self._partitions.apply([self._reset(row, rewritten)])
        for each in rewritten:
            bronze.delete(self._lake, each.file.name)
        return len(rewritten)

    def _refuse_under_way(self, files: Sequence[FileRows]) -> None:
        noted = bronze.noted_by_sinks(self._lake, self._clock)
        for file in files:
            if file.name in noted:
                raise TransientError(
                    f"A sink has not finished with `{file.name}`: some of its offsets are not committed. Run the"
                    " command again in a minute.",
                )

    def _entry(
        self,
        holder: Holder,
        day: date | None,
        file: str,
        replaced_by: str | None,
        rows: int,
        offsets: Mapping[int, OffsetRanges],
    ) -> Erased:
        return Erased(
            self._erasure_id,
            self._clock.now(),
            self._operator,
            self._kind,
            holder.domain.name,
            day,
            file,
            replaced_by,
            rows,
            dict(offsets),
        )

    def _reset(self, row: Partition, rewritten: Sequence[Rewritten]) -> Change:
        replaced = {each.file.name: each.replaced_by for each in rewritten}
        files = tuple(sorted(replaced.get(name, name) for name in row.source_files))
        return Change(
            row.domain,
            row.partition_date,
            row.status,
            Event.RESET,
            made_of=row.file_hash,
            set={"retry_count": 0, "error_message": None, "source_files": files, "file_hash": file_hash(files)},
            detail={"cause": "erasure", "by": self._operator, "erasure_id": self._erasure_id},
        )

    def _forget_in_tables(self, before: Survey, holder: Holder) -> list[tuple[str, date, State]]:
        """Remove the history of tables whose current version is clean; return the dates that still have to run."""
        rows = self._partitions.rows(holder.domain.name)
        erased = {file.partition_date for file in self._ledger.read(holder.domain.name)}
        waiting: list[tuple[str, date, State]] = [
            (row.domain, row.partition_date, row.status)
            for row in rows
            # One that was never DONE is processed for the first time from files without the subject.
            if row.partition_date in erased and row.status is not State.DONE and row.processed_at is not None
        ]
        if waiting or any(row.status is State.IN_FLIGHT for row in rows):
            return waiting
        counted = [(name, before.tables.get(name)) for _, name in tables(self._lake, holder)]
        forgotten = {name for name, found in counted if found and found.in_history and not found.of_subject}
        versions = self._lake.key_versions(holder.domain)
        if self._lake.silver(holder.domain) in forgotten and versions in before.tables:
            forgotten.add(versions)  # it has the keys of the subject's records, if not the column that names it
        # Silver last: by its history the next attempt knows that those beside it must go too.
        for name in sorted(forgotten, reverse=True):
            self._progress(f"{holder.domain.name}: removing the history of {name}")
            delta_tables.forget_history(self._lake, name)
        return waiting
