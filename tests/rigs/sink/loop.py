"""What the sink's loop promises whatever Kafka is made of: the cases, and what a rig must offer to run them.

`tests/unit/sink` runs them on a broker in memory, `tests/integration/sink` on a real one. A case that needs a broker
which fails or rebalances on demand belongs to the unit tests alone; one about processes and signals to the integration
tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from sink.loop import Sink
from tests.rigs.kafka.memory_kafka import MemoryStore

BAD = b"{broken"


class LoopRig(Protocol):
    """A sink within the test's process: five rows a file, 60 seconds, a store in memory, a clock that stands still."""

    sink: Sink
    store: MemoryStore

    @property
    def committed(self) -> dict[int, int]:
        """Kafka partition of the events topic to the group's committed offset."""
        ...

    def event(self, day: int = 1, partition: int = 0) -> int:
        """Append a good event of a day in March and return its offset."""
        ...

    def bad(self, partition: int = 0) -> int:
        """Append `BAD` and return its offset."""
        ...

    def turn(self, seconds: float = 0) -> None:
        """Advance the clock, and step until what was appended is taken; a paused sink takes nothing."""
        ...

    def until(self, condition: Callable[[], object]) -> None:
        """Step until the condition holds."""
        ...

    def fail_commits(self, failing: bool) -> None:
        """Have the sink's commits fail, or not."""
        ...

    def replace_sink(self) -> None:
        """Close the sink, and have another one take over."""
        ...

    def dead_letters(self) -> list[tuple[bytes | None, dict[str, bytes | None]]]:
        """The value and the headers of each dead letter."""
        ...

    def ledger(self) -> list[dict]:
        """The ledger's records."""
        ...


class SinkLoopCases:
    """The cases. A subclass is collected where a fixture `loop_rig` is."""

    def test_a_full_buffer_is_a_file_of_exactly_that_size(self, loop_rig: LoopRig) -> None:
        for _ in range(7):
            loop_rig.event()
        loop_rig.turn()
        assert [len(pq.read_table(pa.BufferReader(f))) for f in loop_rig.store.files.values()] == [5]
        assert loop_rig.committed[0] == 5

    def test_an_old_buffer_is_written_without_a_new_record(self, loop_rig: LoopRig) -> None:
        loop_rig.event()
        loop_rig.turn()
        loop_rig.turn(seconds=59)
        assert not loop_rig.store.files and loop_rig.committed.get(0, 0) == 0
        loop_rig.turn(seconds=1)
        assert loop_rig.store.offsets() == [(0, 0)]
        assert loop_rig.committed[0] == 1

    def test_a_commit_never_passes_a_record_of_another_date_that_is_still_buffered(self, loop_rig: LoopRig) -> None:
        loop_rig.event(day=1)
        for _ in range(5):
            loop_rig.event(day=2)
        loop_rig.turn()
        assert loop_rig.store.offsets() == [(0, offset) for offset in range(1, 6)]
        assert loop_rig.committed.get(0, 0) == 0
        loop_rig.turn(seconds=60)
        assert loop_rig.committed[0] == 6

    def test_a_file_spans_kafka_partitions_and_footer_and_ledger_say_which(self, loop_rig: LoopRig) -> None:
        for partition in (0, 1, 0):
            loop_rig.event(partition=partition)
        loop_rig.turn()
        loop_rig.turn(seconds=60)
        ((name, data),) = loop_rig.store.files.items()
        offsets = {"0": [[0, 1]], "1": [[0, 0]]}
        (of_topic,) = json.loads(pq.read_metadata(pa.BufferReader(data)).metadata[b"pdp.offsets"]).values()
        assert of_topic == offsets
        assert loop_rig.store.offsets() == [(0, 0), (0, 1), (1, 0)]
        loop_rig.until(loop_rig.ledger)
        (record,) = loop_rig.ledger()
        assert (record["file"], record["rows"], record["offsets"]) == (name, 3, offsets)
        assert record["bytes"] == data.size and "recovered" not in record

    def test_an_outage_of_the_store_pauses_and_sends_nothing_to_the_dead_letters(self, loop_rig: LoopRig) -> None:
        loop_rig.turn()  # the partitions are assigned: from now on the store fails
        loop_rig.store.failing = True
        for _ in range(6):
            loop_rig.event()
        loop_rig.until(lambda: loop_rig.sink.store_failing_since)
        for _ in range(20):
            loop_rig.turn(seconds=5)
        assert loop_rig.committed.get(0, 0) == 0
        assert not loop_rig.dead_letters() and not loop_rig.ledger()
        assert len(loop_rig.store.puts) < 20, "attempts are spread by a backoff"
        loop_rig.store.failing = False
        loop_rig.turn(seconds=60)
        loop_rig.turn(seconds=60)
        loop_rig.turn(seconds=60)
        assert loop_rig.sink.store_failing_since is None
        assert loop_rig.store.offsets() == [(0, offset) for offset in range(6)]
        assert loop_rig.committed[0] == 6

    def test_a_put_whose_answer_was_lost_is_repeated_under_the_same_name(self, loop_rig: LoopRig) -> None:
        loop_rig.store.loses_answer = True
        for _ in range(5):
            loop_rig.event()
        loop_rig.turn()
        (first,) = loop_rig.store.files.items()
        loop_rig.store.loses_answer = False
        loop_rig.turn(seconds=60)
        assert len(loop_rig.store.puts) == 2
        (second,) = loop_rig.store.files.items()
        assert first[0] == second[0] and first[1].equals(second[1]), "the same name and the same bytes"

    def test_a_bad_record_is_a_dead_letter_and_holds_nothing_back_once_it_is_confirmed(self, loop_rig: LoopRig) -> None:
        loop_rig.event()
        offset = loop_rig.bad()
        loop_rig.turn()
        loop_rig.turn(seconds=60)
        loop_rig.until(lambda: loop_rig.committed.get(0) == 2)
        ((value, headers),) = loop_rig.dead_letters()
        assert value == BAD
        assert headers["dlq.error_class"] == b"malformed_json" and headers["dlq.offset"] == str(offset).encode()

    def test_a_stop_drains_and_leaves_no_journal(self, loop_rig: LoopRig) -> None:
        loop_rig.event(day=1)
        loop_rig.event(day=2, partition=1)
        loop_rig.turn()
        assert not loop_rig.store.files
        loop_rig.sink.drain_seconds = 20.0
        assert loop_rig.sink.close()
        assert loop_rig.store.offsets() == [(0, 0), (1, 0)]
        assert (loop_rig.committed[0], loop_rig.committed[1]) == (1, 1)
        assert {record["file"] for record in loop_rig.ledger()} == set(loop_rig.store.files)
        assert not loop_rig.store.journal

    def test_the_next_owner_recognises_what_was_put_and_not_committed(self, loop_rig: LoopRig) -> None:
        loop_rig.fail_commits(True)
        for number in range(5):
            loop_rig.event(partition=number % 2)
        loop_rig.turn()
        assert len(loop_rig.store.offsets()) == 5 and loop_rig.committed.get(0, 0) == 0
        files = set(loop_rig.store.files)
        loop_rig.replace_sink()
        loop_rig.fail_commits(False)
        loop_rig.turn()
        loop_rig.turn(seconds=60)
        assert set(loop_rig.store.files) == files, "nothing is written twice"
        assert (loop_rig.committed[0], loop_rig.committed[1]) == (3, 2)
        recognised = loop_rig.sink.metrics.registry.get_sample_value("pdp_sink_recognised_records_total")
        assert recognised == 5
        loop_rig.until(loop_rig.ledger)
        assert [(record["file"], record["recovered"]) for record in loop_rig.ledger()] == [(*files, True)]
        loop_rig.until(lambda: not loop_rig.store.journal)
