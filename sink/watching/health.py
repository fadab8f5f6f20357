"""Whether the sink is well, in one sentence for a person and a status code for a supervisor.

Only the judgement belongs here; the facts come from `sink.loop`, the HTTP from `platform_core.probe_server`. What to
do in each case is in docs/operations.md.
"""

from __future__ import annotations

from platform_core.probe_server import Health
from sink.loop import Sink

STUCK_SECONDS = 120.0
"""A step waits at most for a store's timeout (30 s, four files at once) and a drain (20 s)."""


def sink_health(sink: Sink, now: float) -> Health:
    """Judge the sink.

    Args:
        sink: The running sink.
        now: Seconds of the clock that the sink has.
    """
    facts = {"idle_seconds": round(sink.idle_seconds, 1)}
    if sink.idle_seconds > STUCK_SECONDS:
        return Health(False, f"The loop has not ended a step for {sink.idle_seconds:.0f} s. Restart the sink.", facts)
    if problems := dict(sink.paused_topics.problems):
        # Degraded as well: after a restart alone the same records would be refused again.
        return Health(True, " ".join(problems.values()), {**facts, "paused_topics": list(problems)})
    if problems := dict(sink.unusable_topics.problems):
        return Health(True, " ".join(problems.values()), {**facts, "unusable_topics": list(problems)})
    for since, what in (
        (sink.store_failing_since, "The store takes nothing"),
        (sink.commits_failing_since, "Kafka takes no commit"),
    ):
        if since is not None:
            facts["failing_seconds"] = round(now - since, 1)
            # Degraded, not failing: a restart mends no outage, and would only read the buffered records again.
            return Health(True, f"{what} since {now - since:.0f} s; see the log.", facts)
    return Health(True, "", facts)
