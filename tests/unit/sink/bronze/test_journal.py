from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow as pa
import pytest

from platform_core.errors import TransientError
from sink.bronze.journal import Journal
from tests.rigs.fake_clock import FakeClock
from tests.rigs.kafka.memory_kafka import MemoryStore
from tests.rigs.sink.samples import NOW

FOLDER = "pipeline-metadata/sink_journal"


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def journal(store):
    return Journal(store, FOLDER, FakeClock(NOW))


def settle(journal, entry, *files):
    with ThreadPoolExecutor(1) as pool:
        for file in files:
            journal.finish(entry, file, pool)


def test_another_process_reads_what_was_noted(journal, store):
    entry = journal.begin(["b", "a"])
    assert journal.others() == [], "one's own entries are none of others"
    (other,) = Journal(store, FOLDER, FakeClock(NOW)).others()
    assert (other.name, other.written_at, other.files) == (entry, NOW, ("a", "b"))


def test_an_entry_goes_with_its_last_file(journal, store):
    entry = journal.begin(["a", "b"])
    settle(journal, entry, "a")
    assert list(store.journal) == [entry]
    settle(journal, entry, "b")
    assert not store.journal


def test_an_entry_that_was_left_belongs_to_the_next_owner(journal, store):
    entry = journal.begin(["a", "b"])
    journal.leave(entry)
    settle(journal, entry, "a", "b")
    assert list(store.journal) == [entry]
    assert [other.name for other in journal.others()] == [entry], "it may be this process again"


def test_without_a_store_nothing_is_noted(journal, store):
    store.failing = True
    with pytest.raises(TransientError):
        journal.begin(["a"])
    store.failing = False
    assert not store.journal


def test_an_entry_that_cannot_be_removed_stays_and_harms_nobody(journal, store):
    entry = journal.begin(["a"])
    store.failing = True
    settle(journal, entry, "a")
    store.failing = False
    assert list(store.journal) == [entry]
    journal.remove(entry)
    assert not store.journal


def test_an_entry_that_nobody_can_read_is_passed_over(journal, store):
    store.put(f"{FOLDER}/0-broken.json", pa.py_buffer(b"{"))
    store.put(f"{FOLDER}/1-empty.json", pa.py_buffer(b"{}"))
    Journal(store, FOLDER, FakeClock(NOW + timedelta(seconds=1))).begin(["a"])
    assert [entry.files for entry in journal.others()] == [("a",)]
