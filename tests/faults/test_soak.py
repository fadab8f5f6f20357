"""Everything at once, for `--soak-seconds`: two sinks under load while stores, brokers and processes come and go."""

from __future__ import annotations

import os
import random
import time
from collections import Counter

from faulty_s3 import Fault
from rig import OPTIONS


def test_a_soak_of_random_faults_ends_with_a_clean_audit(s3_bench, faulty_s3, mortal_kafka, request, seed):
    bench, draw, done = s3_bench, random.Random(seed), Counter()
    members = [bench.start(**OPTIONS), bench.start(**OPTIONS)]

    def kill() -> None:
        member = members.pop(draw.randrange(2))
        member.kill()
        member.wait()
        members.append(bench.start(**OPTIONS))

    def terminate() -> None:
        stop(members.pop(draw.randrange(2)))
        members.append(bench.start(**OPTIONS))

    def stop(member) -> None:
        bench.wait(lambda: "sink_started" in member.log.read_text())  # before, no handler takes the signal
        member.terminate()
        # Records that cannot be written in time are left, and it says so.
        assert member.wait(60) in (0, os.EX_TEMPFAIL), member.log.read_text()

    def join_and_leave() -> None:
        third = bench.start(**OPTIONS)
        bench.wait(lambda: "partitions_assigned" in third.log.read_text())
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
    with bench.load(200) as acknowledged:
        while time.monotonic() < deadline:
            action = draw.choice(actions)
            action()
            done[action.__name__] += 1
            before = sum(bench.committed().values())
            bench.wait(lambda before=before: sum(bench.committed().values()) > before)
            time.sleep(draw.uniform(0, 2))
    bench.wait(lambda: bench.committed() == bench.ends(), 120)
    for member in members:
        stop(member)
    bench.assert_clean(acknowledged)
    print(f"soak seed={seed} records={acknowledged.total()} faults={dict(done)}")
