"""This process's own settings for a while: what the code under test asks for by `settings()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from platform_core.settings import settings


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Give the platform's own settings these values."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        settings.cache_clear()
        yield
    settings.cache_clear()
