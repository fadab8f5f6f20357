"""Where a source was read up to: one JSON file a source, replaced atomically, shown and set back by an operator.

Only the file belongs here, and what an operator does with a position wherever it is; in the lake it is kept by
`lake_watermark`. What a position means belongs to `producers.postgres.fence`, and when it may be saved to the
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
from typing import TYPE_CHECKING, Any

from platform_core.domain.catalog import Catalog, Domain
from platform_core.domain.source import PostgresSnapshot, PostgresTable
from platform_core.errors import ConfigurationError
from platform_core.settings import Settings
from producers.postgres.fence import Position
from producers.postgres.stamp import Stamp
from producers.watermark_store import SharedWatermarkStore, WatermarkTakenError, in_words, runs_already, this_process

if TYPE_CHECKING:
    from platform_core.lake.lake import Lake

_Version = tuple[int, int, int]  # inode, time and size of a file: another after each save


class FileWatermark:
    """A position in a file that is whole or absent, also after a crash.

    Args:
        folder: `STATE_DIR`.
        name: The domain.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.json"
        self._name = name
        self._lock_file = self.path.with_suffix(".lock")
        self._seen: _Version | None = None
        self._is_known = False

    @property
    def location(self) -> str:
        """The file."""
        return str(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other producer of the source, and a reset, away while the block runs.

        The kernel ends the lock with the process, however that dies, so a successor starts at once.

        Raises:
            ConfigurationError: another process has the lock.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._lock_file, "a", encoding="utf-8", opener=_private) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise runs_already(self._name, self._holder()) from None
            file.truncate(0)
            file.write(json.dumps(this_process()))
            file.flush()
            yield

    def _holder(self) -> str:
        """Return who took the lock last, in words."""
        try:
            return in_words(json.loads(self._lock_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return "a process that has not written its name yet"

    def _version(self) -> _Version | None:
        """Return what distinguishes a saved file from the one before it; None without a file."""
        try:
            # Opened, because a network file system asks its server only then.
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def load(self) -> dict[str, Any] | None:
        """Return the saved position, or None before the first one.

        Raises:
            ConfigurationError: the file is not what `save` writes.
        """
        self._seen, self._is_known = self._version(), True
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
        """Replace the position: after a crash the file holds the old or the new one, never half of it.

        Raises:
            WatermarkTakenError: another process has written the file since it was loaded or saved here.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A lock may not reach a second host that shares the folder. Nothing is lost by either watermark, for each was
        # sent before it was saved; so it is enough to notice the other by what it leaves, without a clock.
        if self._is_known and self._version() != self._seen:
            raise WatermarkTakenError(
                f"Another process has saved or removed `{self.path}` while this producer of `{self._name}` ran; the"
                f" lock was taken last by {self._holder()}. Nothing was saved over it, and this one ends. Run one"
                " producer a source.",
            )
        draft = self.path.with_suffix(".new")
        with open(draft, "w", encoding="utf-8", opener=_private) as file:
            json.dump(position, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        self._seen, self._is_known = self._version(), True
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def saved_at(self) -> datetime:
        """Return when the position was saved, UTC."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def forget(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    """Open a file for its owner alone: a snapshot's file has rows of the source."""
    return os.open(path, flags, 0o600)


@dataclass(frozen=True)
class WatermarkState:
    """One source's watermark as an operator sees it.

    Attributes:
        source: The domain whose source it is.
        low: Up to when it was read, UTC; of snapshots, when the last one was. None before the first.
        held_polls: Polls that an open transaction holds back.
        remembered_rows: Versions that would otherwise be sent twice; of snapshots, documents of the last one.
        saved_at: When the file was written, UTC.
        location: The file, or the lake's table.
    """

    source: str
    low: datetime | None
    held_polls: int
    remembered_rows: int
    saved_at: datetime
    location: str


def watermarked(catalog: Catalog) -> list[str]:
    """Return the domains whose source has a watermark: those that read a table."""
    return [domain.name for domain in catalog if isinstance(domain.source, PostgresTable)]


def state_of(settings: Settings) -> Path | Lake:
    """Return where the producers' state is: `STATE_DIR`, or the lake.

    Raises:
        ConfigurationError: neither is set, and this is no checkout.
    """
    if settings.state_in_lake:
        from platform_core.lake.lake import Lake  # late: most producers have a folder, and 20 MB less without a lake

        return Lake(settings)
    if settings.state_dir == Path():
        raise ConfigurationError(
            "`STATE_DIR` is not set. An installed platform has no folder of its own: set it to one that survives a"
            " restart, or set `STATE_IN_LAKE=true`."
        )
    return settings.state_dir


def watermark_of(state: Path | Lake, name: str) -> SharedWatermarkStore:
    """Return a domain's watermark in that state."""
    if isinstance(state, Path):
        return FileWatermark(state, name)
    from producers.lake_watermark import LakeWatermark

    return LakeWatermark(state, name)


def names_in(state: Path | Lake) -> list[str]:
    """Return the domains that have a watermark there, known or not, sorted."""
    if isinstance(state, Path):
        return sorted(path.stem for path in state.glob("*.json"))
    from producers.lake_watermark import sources_in

    return sources_in(state)


def describe(state: Path | Lake, catalog: Catalog) -> list[WatermarkState]:
    """Return the watermarks that there are.

    Args:
        state: See `state_of`.

    Raises:
        ConfigurationError: a file is not a watermark.
    """
    states = []
    for name in watermarked(catalog):
        store = watermark_of(state, name)
        document = store.load()
        if document is None:
            continue
        position = _position(store, catalog[name], document)
        if position is None:
            taken = document.get("snapshot_at")
            low, held, remembered = taken and datetime.fromisoformat(taken), 0, len(document.get(name, ()))
        else:
            low, held, remembered = position.low.time, len(position.polls), len(position.sent)
        states.append(WatermarkState(name, low, held, remembered, store.saved_at(), store.location))
    return states


def saved_position(state: Path | Lake, domain: Domain) -> Position | None:
    """Return how far a domain's table was read; None without a file, or when its source has no position in time.

    Args:
        state: See `state_of`.

    Raises:
        ConfigurationError: the file is not a watermark.
    """
    store = watermark_of(state, domain.name)
    document = store.load()
    return None if document is None else _position(store, domain, document)


def reset(state: Path | Lake, domain: Domain, to: datetime | None, *, force: bool = False) -> None:
    """Let a source be read again from a time, while its producer is stopped.

    Args:
        state: See `state_of`.
        to: From when on, UTC; None is its beginning, and forgets the file.
        force: Whether `to` may lie behind the watermark, so that changes between the two are never sent.

    Raises:
        ConfigurationError: its producer runs, it would skip changes and `force` is not set, or the source sends
            snapshots, which have no position in time.
    """
    store = watermark_of(state, domain.name)
    if to is None:
        with store.locked():
            store.forget()
        return
    if isinstance(domain.source, PostgresSnapshot):
        raise ConfigurationError(
            f"Source `{domain.name}` sends whole snapshots and has no position in time. Reset it to its beginning: the"
            " next snapshot is then compared with nothing.",
        )
    low = (saved_position(state, domain) or Position()).low.time
    if to > low and not force:
        raise ConfigurationError(
            f"Source `{domain.name}` was read up to `{low.isoformat()}`; from `{to.isoformat()}` on, the changes"
            " between the two would never be sent. Choose an earlier time, or force it if the lake has them already.",
        )
    with store.locked():
        store.save({"position": Position(low=Stamp.of(to)).to_json()})


def _position(store: SharedWatermarkStore, domain: Domain, document: dict[str, Any]) -> Position | None:
    """Return the position within a file, None for a source that sends snapshots."""
    if isinstance(domain.source, PostgresSnapshot):
        return None
    try:
        return Position.from_json(document)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ConfigurationError(
            f"`{store.location}` is not a watermark of `{domain.name}`. Delete it, and the source is read from its"
            " beginning again.",
        ) from None
