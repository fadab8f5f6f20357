"""The platform's exceptions: one base class, and the permanent/transient split that callers branch on.

Add a subclass where the code that raises it lives; keep only the base classes here. The sink and the partition
state machine decide by type: a `PermanentError` is never retried by itself, a `TransientError` always is.
"""

from __future__ import annotations


class PlatformError(Exception):
    """Something the platform can explain to a person.

    Args:
        message: What happened, where (domain, date, topic-partition-offset, path), and what to do next.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class PermanentError(PlatformError):
    """The same input fails again: a person or new data must change something first."""


class TransientError(PlatformError):
    """The same input may succeed later: an outage, a timeout, a conflict."""


class ServiceDownError(TransientError):
    """A service does not answer at all: nothing is wrong with what was asked of it."""


class ConfigurationError(PermanentError):
    """A setting, `domains.yaml` or a domain package is wrong; the process does not start."""
