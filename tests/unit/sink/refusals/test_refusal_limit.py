from __future__ import annotations

from sink.refusals.refusal_limit import WINDOW_RECORDS, RefusalLimit


def test_it_says_nothing_before_a_window_is_full():
    limit = RefusalLimit(0.5)
    assert limit.exceeded("t", ["bad"] * (WINDOW_RECORDS - 1)) is None
    message = limit.exceeded("t", ["worse"]) or ""
    assert f"`t`: {WINDOW_RECORDS} of the last {WINDOW_RECORDS}" in message
    assert f"bad {WINDOW_RECORDS - 1}, worse 1" in message


def test_the_ratio_itself_is_too_much_and_one_less_is_not():
    half = WINDOW_RECORDS // 2
    assert RefusalLimit(0.5).exceeded("t", [None] * (half + 1) + ["bad"] * (half - 1)) is None
    assert RefusalLimit(0.5).exceeded("t", [None] * half + ["bad"] * half)


def test_what_lies_before_the_window_is_forgotten():
    limit = RefusalLimit(0.5)
    limit.exceeded("t", ["bad"] * 400 + [None] * 100)
    assert limit.exceeded("t", [None] * 5_000) is None
    assert limit.exceeded("t", ["bad"] * 499) is None
    assert limit.exceeded("t", ["bad"])


def test_topics_do_not_share_a_window_and_a_ratio_of_one_never_pauses():
    limit = RefusalLimit(0.5)
    assert limit.exceeded("t", ["bad"] * 600) is None
    assert limit.exceeded("u", ["bad"] * 600) is None
    assert RefusalLimit(1).exceeded("t", ["bad"] * 5_000) is None
