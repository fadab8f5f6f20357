"""Everything at once, for `--soak-seconds`: two sinks under load while stores, brokers and processes come and go."""

from __future__ import annotations

import os
import random
import time
from collections import Counter

from tests.rigs.faults.fault_rig import OPTIONS
from tests.rigs.faults.faulty_s3 import Fault


def test_a_soak_of_random_faults_ends_with_a_clean_audit(s3_bench, faulty_s3, mortal_kafka, request, seed):
    fault_rig, draw, done = s3_bench, random.Random(seed), Counter()
    members = [fault_rig.start(**OPTIONS), fault_rig.start(**OPTIONS)]

    def kill() -> None:
        member = members.pop(draw.randrange(2))
        member.kill()
        member.wait()
        members.append(fault_rig.start(**OPTIONS))

    def terminate() -> None:
        stop(members.pop(draw.randrange(2)))
        members.append(fault_rig.start(**OPTIONS))

    def stop(member) -> None:
        fault_rig.wait(lambda: "sink_started" in member.log.read_text())  # before, no handler takes the signal
        member.terminate()
        # Records that cannot be written in time are left, and it says so.
        assert member.wait(60) in (0, os.EX_TEMPFAIL), member.log.read_text()

    def join_and_leave() -> None:
        third = fault_rig.start(**OPTIONS)
        fault_rig.wait(lambda: "partitions_assigned" in third.log.read_text())
        time.sleep(draw.uniform(0, 2))
        stop(third)

    def store() -> None:
        faulty_s3.rate = draw.choice((0.2, 0.5, 1.0))
        faulty_s3.fault = draw.choice(list(Fault))
        time.sleep(draw.uniform(0.5, 5))
        faulty_s3.fault = None

    def store_and_kill() -> None:
        faulty_s3.rate, faulty_s3.fault = 0.5, Fault.REPLY_LOST
        time.sleep(draw.uniform(0.5, 3))
        kill()
        faulty_s3.fault = None

    def broker() -> None:
        mortal_kafka.crash()
        time.sleep(draw.uniform(0.2, 3))
        mortal_kafka.restart()

    actions = (kill, kill, terminate, join_and_leave, store, store, store_and_kill, broker)
    deadline = time.monotonic() + request.config.getoption("--soak-seconds")
    with fault_rig.load(200) as acknowledged:
        while time.monotonic() < deadline:
            action = draw.choice(actions)
            action()
            done[action.__name__] += 1
            before = sum(fault_rig.committed().values())
            fault_rig.wait(lambda before=before: sum(fault_rig.committed().values()) > before)
            time.sleep(draw.uniform(0, 2))
    fault_rig.wait(lambda: fault_rig.committed() == fault_rig.ends(), 120)
    for member in members:
        stop(member)
    fault_rig.assert_clean(acknowledged)
    print(f"soak seed={seed} records={acknowledged.total()} faults={dict(done)}")
