"""What happens to a sink in a fault test and to a mutant of it: each returns when the dust has settled, judged."""

from __future__ import annotations

import random
import time

from faulty_s3 import Fault, FaultyS3
from rig import OPTIONS, FaultBench

# The S3 client's own retries hide these from the sink.
HIDDEN = (Fault.SLOW, Fault.REPLY_LOST)


def store_fails(bench: FaultBench, s3: FaultyS3, fault: Fault) -> None:
    """Some requests fail, then all until the sink feels it, then none."""
    draw = random.Random(f"{bench.seed}{fault}")
    with bench.load() as acknowledged:
        process = bench.start(**OPTIONS)
        bench.wait(lambda: sum(bench.committed().values()) > 50)
        for rate in (draw.uniform(0.3, 0.6), 1.0):
            count, felt = s3.counts[fault], process.log.read_text().count("store_unavailable")
            s3.rate, s3.fault = rate, fault
            bench.wait(lambda count=count: s3.counts[fault] >= count + 4)
            if rate == 1.0 and fault not in HIDDEN:
                bench.wait(lambda felt=felt: process.log.read_text().count("store_unavailable") > felt)
            time.sleep(draw.uniform(0, 0.5))
            s3.fault = None
    bench.wait(lambda: bench.committed() == bench.ends())
    bench.stop(process)
    bench.assert_clean(acknowledged)


def killed(bench: FaultBench, times: int) -> None:
    """kill -9 at random moments under load, then a sink that finishes."""
    draw = random.Random(bench.seed)
    with bench.load(800) as acknowledged:
        for _ in range(times):
            process = bench.start(**OPTIONS)
            files = len(bench.files())
            bench.wait(lambda files=files: len(bench.files()) > files)
            time.sleep(draw.uniform(0, 0.7))
            process.kill()
            process.wait()
    bench.drain()
    bench.assert_clean(acknowledged)


def terminated(bench: FaultBench, times: int) -> None:
    """SIGTERM at random moments under load: nothing is read again."""
    draw = random.Random(bench.seed)
    with bench.load(800) as acknowledged:
        for _ in range(times):
            process = bench.start(**OPTIONS)
            files = len(bench.files())
            bench.wait(lambda files=files: len(bench.files()) > files)
            time.sleep(draw.uniform(0, 0.7))
            bench.stop(process)
            committed = sum(max(0, offset) for offset in bench.committed().values())
            assert committed == sum(bench.stored().values()), "a clean stop left records to be read again"
    bench.drain()
    bench.assert_clean(acknowledged)


def members_change(bench: FaultBench, kill: bool = True) -> None:
    """A second and a third member join, one is killed, one leaves, one stays."""
    draw = random.Random(bench.seed)
    with bench.load(600) as acknowledged:
        members = [bench.start(**OPTIONS)]
        bench.wait(lambda: bench.files())
        members += [bench.start(**OPTIONS), bench.start(**OPTIONS)]
        bench.wait(lambda: all(owned(bench, member) == 1 for member in members))
        time.sleep(draw.uniform(0.5, 1.5))
        if kill:
            members.pop(draw.randrange(3)).kill()
            time.sleep(draw.uniform(0.5, 1.5))
        bench.stop(members.pop())
        time.sleep(1)
    bench.wait(lambda: bench.committed() == bench.ends())
    for member in members:
        bench.stop(member)
    bench.assert_clean(acknowledged)


def owned(bench: FaultBench, member) -> int:
    """How many partitions a member was assigned last."""
    assignments = member.log.read_text().split("partitions_assigned ")[1:]
    return assignments[-1].split()[0].count(bench.topic) if assignments else 0
