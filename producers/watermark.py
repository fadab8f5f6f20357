"""Where a source was read up to: one small JSON file a source, replaced atomically.

Only loading and saving belong here; what a position means belongs to the source, and when it may be saved to the
delivery reports (`producers.delivery`). A lost file only makes a source send again, see docs/operations.md.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

from platform_core.errors import ConfigurationError


class WatermarkStore(Protocol):
    """Keeps one source's position."""

    def load(self) -> dict[str, Any] | None:
        """Return the saved position, or None before the first one."""
        ...

    def save(self, position: dict[str, Any]) -> None:
        """Replace the position."""
        ...


class FileWatermark:
    """A position in a file that is whole or absent, also after a crash.

    Args:
        folder: `STATE_DIR`.
        name: The source.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.json"

    def load(self) -> dict[str, Any] | None:
        """Return the saved position, or None before the first one.

        Raises:
            ConfigurationError: the file is not what `save` writes.
        """
        try:
            position = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            position = None
        if not isinstance(position, dict):
            raise ConfigurationError(
                f"`{self.path}` is not a watermark. Delete it, and the source is read from its beginning again.",
                path=self.path,
            )
        return position

    def save(self, position: dict[str, Any]) -> None:
        """Replace the position: after a crash the file holds the old or the new one, never half of it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(position, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class MemoryWatermark:
    """A position that dies with the process, for a replay that saves its own at the end."""

    def __init__(self, position: dict[str, Any] | None = None) -> None:
        self.position = position

    def load(self) -> dict[str, Any] | None:
        """Return the position."""
        return self.position

    def save(self, position: dict[str, Any]) -> None:
        """Replace the position."""
        self.position = position
