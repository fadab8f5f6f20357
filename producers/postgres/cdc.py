"""Change capture of a Postgres table: every version that a poll saw, as one record.

Which table, and what a record has, is said by the domain's `source` block; not missing a late commit belongs to
`producers.postgres.fence`, sending a poll and saving its watermark to `producers.postgres.backlog`. A record of a
deleted row has `deleted_at`, docs/architecture.md.
"""

from __future__ import annotations

import orjson
from psycopg2.extensions import connection as Connection

from producers.delivery import Delivery, Receipt
from producers.postgres.backlog import CHECKPOINT_ROWS, Backlog
from producers.postgres.fence import PAGE_ROWS, FencedReader, PollClock, Position
from producers.postgres.query import changes_query
from producers.watermark import WatermarkStore


class CdcPoller:
    """Polls a domain's table and sends each version that was not sent yet.

    Args:
        connection: To the source's primary, autocommit, time zone UTC.
        delivery: Into the domain's topic.
        watermark: Where the position is kept.
        clock: What time a poll is taken at.
        page_rows: Rows of one page.
        checkpoint_rows: Rows between two saves of the watermark within one poll.

    Attributes:
        reader: What is polled, and how far its watermark is behind.
        backlog: How many rows the present poll has sent.
    """

    def __init__(
        self,
        connection: Connection,
        delivery: Delivery,
        watermark: WatermarkStore,
        *,
        clock: PollClock | None = None,
        page_rows: int = PAGE_ROWS,
        checkpoint_rows: int = CHECKPOINT_ROWS,
    ) -> None:
        query, position = changes_query(delivery.domain), Position.from_json(watermark.load())
        self.reader = FencedReader(connection, query, position, clock=clock, page_rows=page_rows)
        self.backlog = Backlog(
            self.reader,
            delivery,
            lambda position: watermark.save(position.to_json()),
            lambda row: orjson.loads(row.document),
            checkpoint_rows=checkpoint_rows,
        )

    def poll(self) -> Receipt:
        """Send what changed, wait for the reports, save the watermark.

        Returns:
            What was delivered, by partition date.

        Raises:
            TransientError: not everything was acknowledged; the watermark stands at what was.
            PermanentError: the cluster refuses the records.
        """
        return self.backlog.send()
