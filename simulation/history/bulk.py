"""Many records of the past at once, framed by who makes them.

Only what a replay needs beyond `producers.delivery` belongs here.
"""

from __future__ import annotations

from platform_core.errors import PermanentError
from platform_kafka.formats.wire_format import decode_value
from producers.delivery import Delivery

SAMPLE_EVERY = 100


class BulkDelivery(Delivery):
    """A delivery that also takes records that are framed already."""

    def send_encoded(self, keys: list[bytes], values: list[bytes], date: str) -> None:
        """Take many framed values of one date, of which one in a hundred is validated.

        Args:
            keys: One for each value.
            values: Framed by the caller with `schema_id`.
            date: The partition date of all of them, ISO.

        Raises:
            PermanentError: a sampled value breaks the contract: the caller makes wrong ones.
        """
        for value in values[::SAMPLE_EVERY]:
            violation = self._contract.violation(decode_value(value))
            if violation is not None:
                raise PermanentError(
                    f"Domain `{self.domain.name}`, date `{date}`: a generated record breaks the contract at"
                    f" {violation}. Nothing was counted as delivered; mend the generator.",
                )
        produce, topic = self._producer.produce, self._topic
        for key, value in zip(keys, values, strict=True):
            try:
                produce(topic, value, key)
            except BufferError:
                self._produced(topic, key, value)
        self._producer.poll(0)
        self._pending.receipt.delivered[date] += len(values)
        self._pending.size_bytes += sum(map(len, values))
