"""What a source's position is kept in, whichever it is: a file (`watermark`) or the lake (`lake_watermark`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from platform_core.clock import SystemClock
from platform_core.errors import ConfigurationError, PermanentError


class WatermarkTakenError(PermanentError):
    """A second producer of the source has saved its watermark."""


class WatermarkStore(Protocol):
    """Keeps one source's position."""

    def load(self) -> dict[str, Any] | None:
        """Return the saved position, or None before the first one."""
        ...

    def save(self, position: dict[str, Any]) -> None:
        """Replace the position."""
        ...


class SharedWatermarkStore(WatermarkStore, Protocol):
    """One that several processes may want: it is locked, looked at and forgotten too."""

    @property
    def location(self) -> str:
        """What a person calls it: the file, or the table and the source."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """Keep every other producer of the source, and a reset, away while the block runs.

        Raises:
            ConfigurationError: another process has the lock.
        """
        ...

    def saved_at(self) -> datetime:
        """Return when the position was saved, UTC."""
        ...

    def forget(self) -> None:
        """Remove the position."""
        ...


def this_process() -> dict[str, Any]:
    """Return who takes a lock, for the one that is refused."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": f"{SystemClock().now():%FT%TZ}"}


def in_words(holder: Mapping[str, Any]) -> str:
    """Return `this_process` of whoever has a lock as part of a sentence."""
    return f"process {holder['pid']} on host `{holder['host']}`, since {holder['since']}"


def runs_already(name: str, holder: str) -> ConfigurationError:
    """Return the refusal of a second producer."""
    return ConfigurationError(
        f"The producer of `{name}` runs already: {holder}. Only one may, since each would save over the watermark of"
        " the other. Stop it first (SIGTERM; `make down` on a laptop).",
    )
