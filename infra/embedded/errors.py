"""Errors of the embedded services, split like the rest of the platform into permanent and transient.

Errors of one service's own protocol stay with its client library and do not belong here. The split is
explained in `platform_core.errors`.
"""

from __future__ import annotations

from platform_core.errors import PermanentError, TransientError


class ToolchainError(PermanentError):
    """A program or artifact that the services need is missing, unusable, or not the one that is locked."""


class DownloadError(TransientError):
    """An artifact could not be fetched now; nothing half-written is left behind."""


class ServiceStartError(PermanentError):
    """A service ended, or stayed silent, before it answered its first call."""


class StackError(PermanentError):
    """The stack's folder cannot be used, or the stack is asked for something it does not have."""
