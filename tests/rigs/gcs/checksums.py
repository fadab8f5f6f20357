"""The checksums that the store sends beside data; Spark's connector refuses a write without CRC32C.

No package that the platform has computes it, and a test's objects are small.
"""

from __future__ import annotations

import base64
import hashlib

_POLYNOMIAL = 0x82F63B78
LARGEST = 1024 * 1024
"""A megabyte costs 0.1 s; larger objects come from clients that do without."""


def _table() -> list[int]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ _POLYNOMIAL if value & 1 else value >> 1
        entries.append(value)
    return entries


_TABLE = _table()


def crc32c(data: bytes) -> str | None:
    """Return the CRC32C in base64, big endian; None for what is too large."""
    if len(data) > LARGEST:
        return None
    value, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return base64.b64encode((value ^ 0xFFFFFFFF).to_bytes(4, "big")).decode()


def md5(data: bytes) -> str:
    """Return the MD5 in base64."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
