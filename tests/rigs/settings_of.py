"""The settings of a process, without starting it and without touching this process's environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from platform_core.settings import Settings


def settings_of(env: Mapping[str, Any]) -> Settings:
    """Return the settings that a process with these variables would have."""
    return Settings(**{name.lower(): value for name, value in env.items()})
