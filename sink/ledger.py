"""The ledger: one record on `processed-events` for each Bronze file whose offsets were committed.

Reconciliation reads it. A record that a killed process could not send any more is sent by the partitions' next
owner (`sink.bronze.recovery`) and says so, because then there may be two. docs/architecture.md describes the fields.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from platform_core.errors import PlatformError
from platform_kafka.records import offsets_json
from platform_kafka.topics import PROCESSED_EVENTS
from sink.broker import Publisher
from sink.bronze.writer import WrittenFile

log = logging.getLogger(__name__)


class Ledger:
    """Publishes ledger records."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def add(self, file: WrittenFile, on_delivery: Callable[[], None], *, recovered: bool = False) -> None:
        """Publish the record of one file.

        Args:
            file: The file.
            on_delivery: Called when the broker has the record.
            recovered: Whether the file is another process's, which may have announced it too.

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
        if recovered:
            record["recovered"] = True
        key = f"{file.domain}/{file.day.isoformat()}".encode()

        def delivered(error: PlatformError | None) -> None:
            if error is None:
                on_delivery()
            else:
                log.error("ledger_record_lost file=%s error=%s", file.name, error)

        self._publisher.publish(PROCESSED_EVENTS, key, json.dumps(record).encode(), [], delivered)
