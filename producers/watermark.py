"""Where a source was read up to: one JSON file a source, replaced atomically, shown and set back by an operator.

Only the file belongs here; what a position means belongs to `producers.postgres.fence`, and when it may be saved to the
delivery reports (`producers.delivery`). A lost file only makes a source send again, see docs/operations.md.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from platform_core.domain.catalog import Catalog, Domain
from platform_core.domain.source import PostgresSnapshot, PostgresTable
from platform_core.errors import ConfigurationError
from producers.postgres.fence import Position
from producers.postgres.stamp import Stamp


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
        name: The domain.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.json"
        self._name = name

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Tell others that a producer runs, while the block does; several may at once, as one with `--once` does."""
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextmanager
    def unused(self) -> Iterator[None]:
        """Keep producers from starting while the block runs.

        Raises:
            ConfigurationError: one runs.
        """
        try:
            with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield
        except BlockingIOError:
            raise ConfigurationError(
                f"The producer of `{self._name}` runs, and would save over a watermark that is set now. Stop it"
                " (SIGTERM; `make down` on a laptop), set the watermark, start it again.",
            ) from None

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, kind)
            yield

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


@dataclass(frozen=True)
class WatermarkState:
    """One source's watermark as an operator sees it.

    Attributes:
        source: The domain whose source it is.
        low: Up to when it was read, UTC; of snapshots, when the last one was. None before the first.
        held_polls: Polls that an open transaction holds back.
        remembered_rows: Versions that would otherwise be sent twice; of snapshots, documents of the last one.
        saved_at: When the file was written, UTC.
        path: The file.
    """

    source: str
    low: datetime | None
    held_polls: int
    remembered_rows: int
    saved_at: datetime
    path: Path


def watermarked(catalog: Catalog) -> list[str]:
    """Return the domains whose source has a watermark: those that read a table."""
    return [domain.name for domain in catalog if isinstance(domain.source, PostgresTable)]


def describe(folder: Path, catalog: Catalog) -> list[WatermarkState]:
    """Return the watermarks that a folder has.

    Args:
        folder: `STATE_DIR`.

    Raises:
        ConfigurationError: a file is not a watermark.
    """
    states = []
    for name in watermarked(catalog):
        store = FileWatermark(folder, name)
        document = store.load()
        if document is None:
            continue
        saved_at = datetime.fromtimestamp(store.path.stat().st_mtime, UTC)
        position = _position(store, catalog[name], document)
        if position is None:
            taken = document.get("snapshot_at")
            low, held, remembered = taken and datetime.fromisoformat(taken), 0, len(document.get(name, ()))
        else:
            low, held, remembered = position.low.time, len(position.polls), len(position.sent)
        states.append(WatermarkState(name, low, held, remembered, saved_at, store.path))
    return states


def saved_position(folder: Path, domain: Domain) -> Position | None:
    """Return how far a domain's table was read; None without a file, or when its source has no position in time.

    Args:
        folder: `STATE_DIR`.

    Raises:
        ConfigurationError: the file is not a watermark.
    """
    store = FileWatermark(folder, domain.name)
    document = store.load()
    return None if document is None else _position(store, domain, document)


def reset(folder: Path, domain: Domain, to: datetime | None, *, force: bool = False) -> None:
    """Let a source be read again from a time, while its producer is stopped.

    Args:
        folder: `STATE_DIR`.
        to: From when on, UTC; None is its beginning, and forgets the file.
        force: Whether `to` may lie behind the watermark, so that changes between the two are never sent.

    Raises:
        ConfigurationError: its producer runs, it would skip changes and `force` is not set, or the source sends
            snapshots, which have no position in time.
    """
    store = FileWatermark(folder, domain.name)
    if to is None:
        with store.unused():
            store.path.unlink(missing_ok=True)
        return
    if isinstance(domain.source, PostgresSnapshot):
        raise ConfigurationError(
            f"Source `{domain.name}` sends whole snapshots and has no position in time. Reset it to its beginning: the"
            " next snapshot is then compared with nothing.",
        )
    low = (saved_position(folder, domain) or Position()).low.time
    if to > low and not force:
        raise ConfigurationError(
            f"Source `{domain.name}` was read up to `{low.isoformat()}`; from `{to.isoformat()}` on, the changes"
            " between the two would never be sent. Choose an earlier time, or force it if the lake has them already.",
        )
    with store.unused():
        store.save({"position": Position(low=Stamp.of(to)).to_json()})


def _position(store: FileWatermark, domain: Domain, document: dict[str, Any]) -> Position | None:
    """Return the position within a file, None for a source that sends snapshots."""
    if isinstance(domain.source, PostgresSnapshot):
        return None
    try:
        return Position.from_json(document)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ConfigurationError(
            f"`{store.path}` is not a watermark of `{domain.name}`. Delete it, and the source is read from its"
            " beginning again.",
        ) from None
