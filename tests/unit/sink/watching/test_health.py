from __future__ import annotations

from sink.watching.health import sink_health


def test_health_tells_an_outage_from_a_loop_that_hangs(rig, monkeypatch):
    assert sink_health(rig.sink, rig.clock.seconds()).status == "ok"
    rig.event()
    rig.step()
    rig.store.failing = True
    rig.step(seconds=60)
    rig.clock.advance(seconds=90)
    outage = sink_health(rig.sink, rig.clock.seconds())
    assert outage.status == "degraded" and outage.facts["failing_seconds"] == 90
    monkeypatch.setattr(rig.sink, "_stepped_at", rig.sink._stepped_at - 200)
    assert sink_health(rig.sink, rig.clock.seconds()).status == "failing"
