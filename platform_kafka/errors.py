"""What Kafka's absence is called, for those who may go on without it; light, so that it can be imported anywhere."""

from __future__ import annotations

from platform_core.errors import TransientError


class KafkaUnreachableError(TransientError):
    """No broker answers, or a topic is missing; a later question may be answered."""
