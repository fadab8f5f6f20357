"""A service that tests kill: whoever comes next gets it alive."""

from __future__ import annotations

from typing import TypeVar

from infra.embedded.processes.service import EmbeddedService

Service = TypeVar("Service", bound=EmbeddedService)


def revived(service: Service) -> Service:
    """Return the service, restarted with its data if a test that failed has left it dead."""
    if service.pid is None:
        service.restart()
    return service
