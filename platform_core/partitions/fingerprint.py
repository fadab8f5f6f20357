"""The fingerprint of a date's Bronze content, by which late data is found.

Only the computation lives here; who compares it with what belongs to discovery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def file_hash(names: Iterable[str]) -> str:
    """Return the md5 (hex) of the sorted file names, one a line.

    Bronze files are immutable and their names are never used twice, so the set of names stands for the content;
    the order in which a store lists them does not matter.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(names):
        digest.update(name.encode())
        digest.update(b"\n")
    return digest.hexdigest()
