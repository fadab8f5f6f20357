"""The body of a request that a server of Python's standard library has received."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler


def request_body(request: BaseHTTPRequestHandler) -> bytes:
    """Read the whole body, which a client sends with its length or in chunks (RFC 9112, section 7.1)."""
    if "chunked" in (request.headers.get("Transfer-Encoding") or ""):
        parts = []
        while size := int(request.rfile.readline().split(b";")[0], 16):
            parts.append(request.rfile.read(size))
            request.rfile.readline()
        request.rfile.readline()
        return b"".join(parts)
    return request.rfile.read(int(request.headers.get("Content-Length") or 0))
