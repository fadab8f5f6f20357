"""Where a source was read up to, kept in the lake: for producers that have no disk of their own, on whatever host.

A Delta table has the position of each source and who holds its lease, each changed by compare-and-set. What is said of
the file in `producers.watermark` holds here too; only the lock differs, because no kernel ends it with its process.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from platform_core.clock import SystemClock
from platform_core.errors import ConfigurationError, TransientError
from platform_core.lake.contended_table import ContendedTable
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering
from platform_core.lake.row_schema import schema_of
from producers.watermark_store import WatermarkTakenError, in_words, runs_already, this_process

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
"""A lease that was not renewed for so long, as far as the one that waits has seen, ends. It is renewed three times."""

LOOK_EVERY_SECONDS = 2.0
ATTEMPTS = 12

POSITION, LEASE = "position", "lease"


@dataclass(frozen=True)
class StateRow:
    """A row of the table.

    Attributes:
        source: The domain whose source it is.
        part: `position` or `lease`: a snapshot is large, and a lease is renewed often.
        revision: Grows with each change.
        writer: Of the last change, a random id.
        content: JSON: the position; of a lease, who holds it. None when it was forgotten or released.
        changed_at: When, UTC, by the writer's clock: for a person, and compared with nothing.
    """

    source: str
    part: str
    revision: int = 0
    writer: str = ""
    content: str | None = None
    changed_at: datetime | None = None


class LakeWatermark:
    """A position in the lake.

    Args:
        lake: Which has the table.
        name: The domain.
        lease_seconds: See `LEASE_SECONDS`.
    """

    def __init__(self, lake: Lake, name: str, lease_seconds: float = LEASE_SECONDS) -> None:
        self._table = ContendedTable(lake, lake.producer_state, schema_of(StateRow), ["source", "part"])
        self._name = name
        self._lease_seconds = lease_seconds
        self._writer = uuid.uuid4().hex
        self._seen: int | None = None
        self._lease: StateRow | None = None
        self._is_lost = False
        self._one_at_a_time = threading.RLock()

    @property
    def location(self) -> str:
        """The table and the source."""
        return f"{self._table.uri}, {self._name}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the source's lease; one that nobody renews ends, and until then this waits.

        Raises:
            ConfigurationError: another process holds it, and has renewed it meanwhile.
            TransientError: the lake does not answer.
        """
        self._lease, self._is_lost = self._taken(), False
        over = threading.Event()
        thread = threading.Thread(target=self._renew, args=(over,), name=f"lease-{self._name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._release()

    def _taken(self) -> StateRow:
        """Take the lease: at once when nobody holds it, or after it was seen unchanged for its whole time.

        No two hosts' clocks are compared: the one that waits counts its own seconds.
        """
        first, started = self._row(LEASE), time.monotonic()
        if first.content is not None:
            wait, holder = self._lease_seconds, first.content
            log.info("lease_awaited source=%s holder=%s seconds=%.0f", self._name, holder, wait)
        while True:
            row = self._row(LEASE)
            if row.content is not None and row.revision != first.revision:
                raise runs_already(self._name, in_words(json.loads(row.content)))
            if row.content is None or time.monotonic() - started > self._lease_seconds:
                taken = self._changed(row, json.dumps(this_process()))
                if self._put(taken, row.revision):
                    return taken
            else:
                time.sleep(min(LOOK_EVERY_SECONDS, self._lease_seconds / 10))

    def _renew(self, over: threading.Event) -> None:
        while not over.wait(self._lease_seconds / 3):
            try:
                with self._one_at_a_time:
                    lease = self._lease
                    if lease is None:
                        return
                    renewed = self._changed(lease, lease.content)
                    self._lease = renewed if self._put(renewed, lease.revision) else None
                    self._is_lost = self._lease is None
                if self._is_lost:
                    log.warning("lease_lost source=%s", self._name)
            except TransientError as error:  # a store that is out answers again, or the lease ends
                log.warning("lease_not_renewed source=%s error=%s", self._name, error)

    def _release(self) -> None:
        with self._one_at_a_time:
            lease, self._lease = self._lease, None
        if lease is not None:
            try:
                self._put(self._changed(lease, None), lease.revision)
            except TransientError as error:
                log.warning("lease_not_released source=%s error=%s", self._name, error)

    def load(self) -> dict[str, Any] | None:
        """Return the saved position, or None before the first one.

        Raises:
            ConfigurationError: it is not what `save` writes.
            TransientError: the lake does not answer.
        """
        row = self._row(POSITION)
        self._seen = row.revision
        if row.content is None:
            return None
        try:
            position = json.loads(row.content)
        except ValueError:
            position = None
        if not isinstance(position, dict):
            raise ConfigurationError(
                f"`{self.location}` is not a watermark. Forget it with `pdp watermark reset {self._name}`, and the"
                " source is read from its beginning again.",
            )
        return position

    def save(self, position: dict[str, Any]) -> None:
        """Replace the position.

        Raises:
            WatermarkTakenError: another process has saved one since it was loaded or saved here.
            TransientError: the lake does not answer; the position is the old one or the new one.
        """
        row = self._row(POSITION)
        expected = row.revision if self._seen is None else self._seen
        saved = self._changed(replace(row, revision=expected), json.dumps(position))
        if self._is_lost or not self._put(saved, expected):
            raise WatermarkTakenError(
                f"Another process has saved `{self.location}` while this producer of `{self._name}` ran; the lease was"
                f" taken last by {self._row(LEASE).content or 'nobody'}. Nothing was saved over it, and this one ends."
                " Run one producer a source.",
            )
        self._seen = saved.revision

    def saved_at(self) -> datetime:
        """Return when the position was saved, UTC."""
        return self._row(POSITION).changed_at or datetime.fromtimestamp(0, UTC)

    def forget(self) -> None:
        """Remove the position."""
        row = self._row(POSITION)
        if row.content is not None and not self._put(self._changed(row, None), row.revision):
            raise runs_already(self._name, "it has just saved its watermark")

    def _row(self, part: str) -> StateRow:
        """Return a row as it is, a new one when there is none."""
        return self._row_of(self._table.open(), part)

    def _row_of(self, table: DeltaTable | None, part: str) -> StateRow:
        filters = (("source", "=", self._name), ("part", "=", part))
        rows = self._table.rows(*filters, table=table) if table is not None else []
        return StateRow(**rows[0]) if rows else StateRow(self._name, part)

    def _changed(self, row: StateRow, content: str | None) -> StateRow:
        now = SystemClock().now()
        return replace(row, revision=row.revision + 1, writer=self._writer, content=content, changed_at=now)

    def _put(self, row: StateRow, expected: int) -> bool:
        """Store a row in the place of the one with the expected revision; return False when it has another one.

        A commit may stand although its reply was lost, so what is already there is as good as stored.
        """
        data = pa.Table.from_pylist([asdict(row)], schema=schema_of(StateRow))
        predicate = f"source = '{row.source}' AND part = '{row.part}'"
        with self._one_at_a_time, answering(self._table.uri, "written"):
            for table in self._table.attempts(ATTEMPTS):
                stored = self._row_of(table, row.part)
                if (stored.revision, stored.writer) == (row.revision, row.writer):
                    return True
                if stored.revision != expected:
                    return False
                with suppress(CommitFailedError):  # somebody else's, of this row or of another
                    write_deltalake(table, data, mode="overwrite", predicate=predicate)
                    self._table.tidy(table)
                    return True
        raise AssertionError("attempts() ends by an error")


def sources_in(lake: Lake) -> list[str]:
    """Return the sources that have a position in the lake, sorted."""
    table = ContendedTable(lake, lake.producer_state, schema_of(StateRow), ["source", "part"])
    rows = table.rows(("part", "=", POSITION), columns=["source", "content"])
    return sorted(row["source"] for row in rows if row["content"] is not None)
