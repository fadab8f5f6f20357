"""The stage Kafka → Bronze: whatever breaks, each acknowledged record is in Bronze, and once."""

from __future__ import annotations

import os
import random
import resource
import signal
import time

import pytest

from tests.rigs.faults.fault_rig import OPTIONS
from tests.rigs.faults.faulty_s3 import Fault
from tests.rigs.faults.scenarios import killed, members_change, owned, store_fails, terminated
from tests.rigs.sink.rig import PARTITIONS, metric


@pytest.mark.parametrize("fault", list(Fault))
def test_a_store_that_fails(s3_bench, faulty_s3, fault):
    store_fails(s3_bench, faulty_s3, fault)


def test_a_store_that_fails_while_the_sink_is_killed(s3_bench, faulty_s3, seed):
    draw = random.Random(seed)
    with s3_bench.load() as acknowledged:
        for fault in (Fault.REPLY_LOST, Fault.UNAVAILABLE, Fault.REPLY_LOST):
            process = s3_bench.start(**OPTIONS)
            before = sum(s3_bench.committed().values())
            s3_bench.wait(lambda before=before: sum(s3_bench.committed().values()) > before)
            faulty_s3.fault, faulty_s3.rate, count = fault, 1.0, faulty_s3.counts[fault]
            s3_bench.wait(lambda fault=fault, count=count: faulty_s3.counts[fault] > count + 1)
            time.sleep(draw.uniform(0, 0.5))
            process.kill()
            process.wait()
            faulty_s3.fault = None
    s3_bench.drain()
    s3_bench.assert_clean(acknowledged)


def test_a_stop_while_the_store_is_out_of_reach_says_that_records_are_left(s3_bench, faulty_s3):
    with s3_bench.load() as acknowledged:
        process = s3_bench.start(**OPTIONS)
        s3_bench.wait(lambda: sum(s3_bench.committed().values()) > 50)
        faulty_s3.fault, faulty_s3.rate = Fault.THROTTLED, 1.0
        s3_bench.wait(lambda: faulty_s3.counts[Fault.THROTTLED] > 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == os.EX_TEMPFAIL
        faulty_s3.fault = None
    s3_bench.drain()
    s3_bench.assert_clean(acknowledged)


def test_kill_9_at_any_moment(fault_rig):
    killed(fault_rig, 4)


def test_sigterm_at_any_moment_reads_nothing_again(fault_rig):
    terminated(fault_rig, 4)


def test_members_come_and_go_and_one_is_killed(fault_rig):
    members_change(fault_rig)


def test_a_member_is_frozen_beyond_its_session_and_thaws(fault_rig):
    """Another member has its partitions by then; what the frozen one holds must not become a second copy."""
    with fault_rig.load(600) as acknowledged:
        frozen, other = fault_rig.start(**OPTIONS), fault_rig.start(**OPTIONS)
        fault_rig.wait(lambda: owned(fault_rig, frozen) and owned(fault_rig, other))
        frozen.send_signal(signal.SIGSTOP)
        fault_rig.wait(lambda: owned(fault_rig, other) == PARTITIONS)
        committed = sum(fault_rig.committed().values())
        fault_rig.wait(lambda: sum(fault_rig.committed().values()) > committed + 600)
        frozen.send_signal(signal.SIGCONT)
        fault_rig.wait(lambda: "partitions_lost" in frozen.log.read_text())
        committed = sum(fault_rig.committed().values())
        fault_rig.wait(lambda: sum(fault_rig.committed().values()) > committed + 600)
    fault_rig.wait(lambda: fault_rig.committed() == fault_rig.ends())
    for member in (frozen, other):
        fault_rig.stop(member)
    # A PUT that was under way when it froze may be completed: then its records are stored twice, and never lost.
    fault_rig.assert_clean(acknowledged, exactly_once=False)
    twice = [where for where, count in fault_rig.stored().items() if count > 1]
    assert len(twice) <= 4 * OPTIONS["SINK_FLUSH_BUFFER_SIZE"], f"{len(twice)} records were written twice"


def test_the_broker_is_killed_and_comes_back(fault_rig, mortal_kafka, seed):
    draw = random.Random(seed)
    with fault_rig.load() as acknowledged:
        process = fault_rig.start(**OPTIONS)
        fault_rig.wait(lambda: len(fault_rig.files()) > 3)
        time.sleep(draw.uniform(0, 1))
        mortal_kafka.crash()
        time.sleep(draw.uniform(0.5, 2))
        mortal_kafka.restart()
        count = len(fault_rig.files())
        fault_rig.wait(lambda: len(fault_rig.files()) > count + 3)
    fault_rig.wait(lambda: fault_rig.committed() == fault_rig.ends())
    fault_rig.stop(process)
    # The broker may have taken a file's commit and not told: what it did not take is recognised.
    fault_rig.assert_clean(acknowledged)


def test_the_disk_is_full_for_a_while(fault_rig):
    """A limit on the size of files makes each write fail with an OSError, as a full disk does."""
    with fault_rig.load() as acknowledged:
        process = fault_rig.start(**OPTIONS, METRICS_PORT=0)
        fault_rig.wait(lambda: len(fault_rig.files()) > 3)
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100, hard))
        # Its log is a file too, so only its endpoint can say that it cannot write.
        fault_rig.wait(lambda: metric(process, "pdp_sink_store_failures_total") >= 3)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        count = len(fault_rig.files())
        fault_rig.wait(lambda: len(fault_rig.files()) > count + 8)
    fault_rig.wait(lambda: fault_rig.committed() == fault_rig.ends())
    fault_rig.stop(process)
    fault_rig.assert_clean(acknowledged)
