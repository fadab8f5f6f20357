"""The suite must catch what it is there for: sinks that are broken as sinks in the wild are."""

from __future__ import annotations

import pytest

from tests.rigs.faults.faulty_s3 import Fault
from tests.rigs.faults.scenarios import killed, members_change, store_fails, terminated
from tests.rigs.faults.sink_faults import SinkFaults


@pytest.mark.parametrize(
    ("mutant", "complaint"),
    [
        ("commit_before_put", "lost: "),
        ("commit_last_offset", "lost: "),
        ("commit_beyond_dates", "lost: "),
        ("forget_what_is_stored", "written twice"),
    ],
)
def test_kill_9_finds(make_fault_rig, mutant, complaint):
    # Whether a kill meets what a mutant would lose is chance: `commit_beyond_dates` escaped three kills once in five.
    with pytest.raises(AssertionError, match=complaint):
        for _ in range(3):
            killed(make_fault_rig(mutant=mutant), 3)


def test_an_outage_finds_dead_letters(make_fault_rig, s3_lake, faulty_s3):
    with pytest.raises(AssertionError, match=r"good records to the dead letters|lost: "):
        store_fails(make_fault_rig(lake_env=s3_lake, mutant="dead_letters_on_outage"), faulty_s3, Fault.THROTTLED)


def test_a_rebalance_finds_a_commit_without_a_flush(make_fault_rig):
    with pytest.raises(AssertionError, match="lost: "):
        members_change(make_fault_rig(mutant="commit_without_flush_on_revoke"), kill=False)


def test_sigterm_finds_a_sink_that_never_commits(make_fault_rig):
    with pytest.raises(AssertionError, match="read again"):
        terminated(make_fault_rig(mutant="never_commit"), 1)


def test_the_soak_finds_a_commit_before_the_store_has_answered(make_fault_rig, s3_lake, faulty_s3, mortal_kafka):
    """The seed is that of a store that refuses everything, and no attempt of the client hides a refusal."""
    lake = s3_lake | {"S3_MAX_ATTEMPTS": "1"}
    fault_rig = make_fault_rig(lake_env=lake, mutant="commit_before_the_answer", seed=25)
    soak = SinkFaults(fault_rig, faulty_s3, mortal_kafka, only=["store_fails"])
    with fault_rig.load() as acknowledged:
        soak.run(0)
    soak.settle()
    with pytest.raises(AssertionError, match="lost: "):
        fault_rig.assert_clean(acknowledged)
