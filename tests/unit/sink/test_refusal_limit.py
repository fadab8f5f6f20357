from __future__ import annotations

from collections import Counter

import pytest

from platform_core.errors import PermanentError
from sink.refusal_limit import WINDOW_RECORDS, RefusalLimit


def test_it_says_nothing_before_a_window_is_full():
    limit = RefusalLimit(0.5)
    limit.count("t", WINDOW_RECORDS - 1, Counter(bad=WINDOW_RECORDS - 1))
    with pytest.raises(PermanentError) as refused:
        limit.count("t", 1, Counter(worse=1))
    assert f"`t`: {WINDOW_RECORDS} of the last {WINDOW_RECORDS}" in refused.value.message
    assert f"bad {WINDOW_RECORDS - 1}, worse 1" in refused.value.message


def test_the_ratio_itself_is_too_much_and_one_less_is_not():
    limit = RefusalLimit(0.5)
    limit.count("t", WINDOW_RECORDS, Counter(bad=WINDOW_RECORDS // 2 - 1))
    with pytest.raises(PermanentError):
        RefusalLimit(0.5).count("t", WINDOW_RECORDS, Counter(bad=WINDOW_RECORDS // 2))


def test_what_lies_before_the_window_is_forgotten():
    limit = RefusalLimit(0.5)
    limit.count("t", 500, Counter(bad=400))
    for _ in range(10):
        limit.count("t", 500, Counter())
    with pytest.raises(PermanentError):
        limit.count("t", 500, Counter(bad=500))


def test_topics_do_not_share_a_window_and_a_ratio_of_one_never_stops():
    limit = RefusalLimit(0.5)
    limit.count("t", 600, Counter(bad=600))
    limit.count("u", 600, Counter(bad=600))
    RefusalLimit(1).count("t", 5_000, Counter(bad=5_000))
