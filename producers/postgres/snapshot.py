"""Snapshots of a Postgres table: every row of it at fixed hours.

When a snapshot is due belongs here, comparing with the snapshot before it to `producers.postgres.snapshot_memory`,
sending to `producers.delivery`. Which table, and what a record has, is said by the domain's `source` block. A snapshot
is one statement and so one consistent view, docs/architecture.md.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from psycopg2.extensions import connection as Connection

from platform_core.domain.source import PostgresSnapshot
from producers.delivery import Delivery, Receipt
from producers.postgres.query import all_rows_query
from producers.postgres.snapshot_memory import (
    SnapshotRefusedError,
    documents_of,
    refuse_a_loss,
    vanished,
)
from producers.watermark_store import WatermarkStore

log = logging.getLogger(__name__)

NAMED = 10


class Snapshot:
    """Sends all rows, and once more each that is no longer there.

    Args:
        connection: To the source, autocommit.
        delivery: Into the domain's topic.
        watermark: Where the last snapshot is kept: its time and its documents.
    """

    def __init__(self, connection: Connection, delivery: Delivery, watermark: WatermarkStore) -> None:
        source = delivery.domain.source
        assert isinstance(source, PostgresSnapshot)
        self._source = source
        self._domain = delivery.domain
        self._query = all_rows_query(delivery.domain)
        self._connection = connection
        self._delivery = delivery
        self._watermark = watermark
        self._last: str | None = (watermark.load() or {}).get("snapshot_at")
        self._refused_at: datetime | None = None

    def due(self, now: datetime) -> bool:
        """Tell whether the present hours' snapshot is still to come; one that was refused is not tried again."""
        hour = now.hour - now.hour % self._source.every_hours
        start = now.replace(hour=hour, minute=0, second=0, microsecond=0)
        if self._refused_at is not None and self._refused_at >= start:
            return False
        # One of a later day was taken by a clock that was wrong.
        return self._last is None or not start <= datetime.fromisoformat(self._last) <= now + timedelta(days=1)

    def take(self, now: datetime, *, accept_loss: bool = False) -> Receipt:
        """Send every row, wait for the reports, save the snapshot.

        Args:
            now: The time of the snapshot.
            accept_loss: Whether a snapshot that lacks most of the last one is meant.

        Raises:
            SnapshotRefusedError: it lacks most of the last one; nothing was sent and nothing saved.
            TransientError: not everything was acknowledged; the snapshot is taken again.
            PermanentError: the cluster refuses the records.
        """
        snapshot_at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with self._connection.cursor() as cursor:
            cursor.execute(self._query)
            rows = cursor.fetchall()
        documents, unreadable = _parsed(rows)
        # Asked for each time: another process may have accepted the loss meanwhile, and 2,000 menus need not be held.
        before = documents_of(self._domain, self._watermark.load())
        # A row that cannot be read is still there: what was last read of it is neither lost nor deleted.
        documents |= {key: before[key] for key in unreadable if key in before}
        self._refused_at = None
        if not accept_loss:
            try:
                refuse_a_loss(self._domain, before, documents)
            except SnapshotRefusedError:
                self._refused_at = now
                raise
        gone = vanished(before, documents, snapshot_at, self._source.deleted_at)
        for document in (*(documents[key] for key in documents if key not in unreadable), *gone):
            self._delivery.send({**document, self._source.stamp: snapshot_at})
        for key, text in unreadable.items():
            self._delivery.send_text(key, text, {self._source.stamp: snapshot_at})
        receipt = self._delivery.deliver()
        if gone:
            keys = [document[self._source.key] for document in gone]
            log.info("rows_removed domain=%s rows=%d first=%s", self._domain.name, len(keys), keys[:NAMED])
        last = now.astimezone(UTC).isoformat()
        # What vanished is forgotten only here, after the reports: a crash before sends it again.
        self._watermark.save({"snapshot_at": last, self._domain.name: documents})
        self._last = last
        return receipt


def _parsed(rows: Sequence[tuple[object, str]]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the documents by key, and the texts of those that are no JSON within the bounds of a record."""
    documents, unreadable = {}, {}
    for key, text in rows:
        try:
            documents[str(key)] = orjson.loads(text)
        except ValueError:
            unreadable[str(key)] = text
    return documents, unreadable
