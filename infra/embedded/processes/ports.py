"""Free TCP ports on the loopback address, for servers that must know their port before they start.

Servers that accept port 0 choose for themselves and do not need this. The kernel hands out ephemeral ports
as described in ip(7), `ip_local_port_range`.
"""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"

_handed_out: set[int] = set()
_lock = threading.Lock()


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nothing listens on and that this process was not given before.

    The ports are released before they return, so another process may still take one: a service treats
    "address in use" as a reason to ask again.
    """
    ports: list[int] = []
    with _lock, ExitStack() as held:
        while len(ports) < count:
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
            if port not in _handed_out:
                _handed_out.add(port)
                ports.append(port)
    return ports


def accepts_connections(port: int) -> bool:
    """Tell whether a TCP connection to the loopback port succeeds within 0.5 seconds."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5):
            return True
    except OSError:
        return False
