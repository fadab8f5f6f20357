"""The ledger: one record on `processed-events` for each Bronze file whose offsets were committed.

Reconciliation reads it; the footer of each file says the same, so a record lost by a crash between commit and
delivery can be made again from the lake. docs/architecture.md describes the fields.
"""

from __future__ import annotations

import json
import logging

from platform_core.errors import PlatformError
from platform_core.topics import PROCESSED_EVENTS
from sink.broker import Publisher
from sink.writer import WrittenFile, offsets_json

log = logging.getLogger(__name__)


class Ledger:
    """Publishes ledger records."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def add(self, file: WrittenFile) -> None:
        """Publish the record of one file.

        Raises:
            TransientError: the local queue is full.
        """
        record = {
            "domain": file.domain,
            "topic": file.topic,
            "partition_date": file.day.isoformat(),
            "file": file.name,
            "rows": file.rows,
            "bytes": file.size,
            "offsets": offsets_json(file.offsets),
            "written_at": file.written_at.isoformat(),
        }
        key = f"{file.domain}/{file.day.isoformat()}".encode()

        def delivered(error: PlatformError | None) -> None:
            if error is not None:
                log.error("ledger_record_lost file=%s error=%s", file.name, error)

        self._publisher.publish(PROCESSED_EVENTS, key, json.dumps(record).encode(), [], delivered)
