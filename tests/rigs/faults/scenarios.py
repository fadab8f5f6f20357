"""What happens to a sink in a fault test and to a mutant of it: each returns when the dust has settled, judged."""

from __future__ import annotations

import random
import time

from tests.rigs.faults.fault_rig import OPTIONS, FaultRig
from tests.rigs.faults.faulty_s3 import Fault, FaultyS3

# The S3 client's own retries hide these from the sink.
HIDDEN = (Fault.SLOW, Fault.REPLY_LOST)


def store_fails(fault_rig: FaultRig, s3: FaultyS3, fault: Fault) -> None:
    """Some requests fail, then all until the sink feels it, then none."""
    draw = random.Random(f"{fault_rig.seed}{fault}")
    with fault_rig.load() as acknowledged:
        process = fault_rig.start(**OPTIONS)
        fault_rig.wait(lambda: sum(fault_rig.committed().values()) > 50)
        for rate in (draw.uniform(0.3, 0.6), 1.0):
            count, felt = s3.counts[fault], process.log.read_text().count("store_unavailable")
            s3.rate, s3.fault = rate, fault
            fault_rig.wait(lambda count=count: s3.counts[fault] >= count + 4)
            if rate == 1.0 and fault not in HIDDEN:
                fault_rig.wait(lambda felt=felt: process.log.read_text().count("store_unavailable") > felt)
            time.sleep(draw.uniform(0, 0.5))
            s3.fault = None
    fault_rig.wait(lambda: fault_rig.committed() == fault_rig.ends())
    fault_rig.stop(process)
    fault_rig.assert_clean(acknowledged)


def killed(fault_rig: FaultRig, times: int) -> None:
    """kill -9 at random moments under load, then a sink that finishes."""
    draw = random.Random(fault_rig.seed)
    with fault_rig.load(800) as acknowledged:
        for _ in range(times):
            process = fault_rig.start(**OPTIONS)
            files = len(fault_rig.files())
            fault_rig.wait(lambda files=files: len(fault_rig.files()) > files)
            time.sleep(draw.uniform(0, 0.7))
            process.kill()
            process.wait()
    fault_rig.drain()
    fault_rig.assert_clean(acknowledged)


def terminated(fault_rig: FaultRig, times: int) -> None:
    """SIGTERM at random moments under load: nothing is read again."""
    draw = random.Random(fault_rig.seed)
    with fault_rig.load(800) as acknowledged:
        for _ in range(times):
            process = fault_rig.start(**OPTIONS)
            files = len(fault_rig.files())
            fault_rig.wait(lambda files=files: len(fault_rig.files()) > files)
            time.sleep(draw.uniform(0, 0.7))
            fault_rig.stop(process)
            committed = sum(max(0, offset) for offset in fault_rig.committed().values())
            assert committed == sum(fault_rig.stored().values()), "a clean stop left records to be read again"
    fault_rig.drain()
    fault_rig.assert_clean(acknowledged)


def members_change(fault_rig: FaultRig, kill: bool = True) -> None:
    """A second and a third member join, one is killed, one leaves, one stays."""
    draw = random.Random(fault_rig.seed)
    with fault_rig.load(600) as acknowledged:
        members = [fault_rig.start(**OPTIONS)]
        fault_rig.wait(lambda: fault_rig.files())
        members += [fault_rig.start(**OPTIONS), fault_rig.start(**OPTIONS)]
        fault_rig.wait(lambda: all(owned(fault_rig, member) == 1 for member in members))
        time.sleep(draw.uniform(0.5, 1.5))
        if kill:
            members.pop(draw.randrange(3)).kill()
            time.sleep(draw.uniform(0.5, 1.5))
        fault_rig.stop(members.pop())
        time.sleep(1)
    fault_rig.wait(lambda: fault_rig.committed() == fault_rig.ends())
    for member in members:
        fault_rig.stop(member)
    fault_rig.assert_clean(acknowledged)


def owned(fault_rig: FaultRig, member) -> int:
    """How many partitions a member was assigned last."""
    assignments = member.log.read_text().split("partitions_assigned ")[1:]
    return assignments[-1].split()[0].count(fault_rig.topic) if assignments else 0
