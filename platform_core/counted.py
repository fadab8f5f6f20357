"""A number and its noun as people read them: `1 date`, `3 dates`, `1,234 rows`.

Only the words belong here; every message that counts something takes them from here, so that none says `1 dates`.
"""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun, thousands separated.

    Args:
        noun: One of it.
        plural: Several of it, where that is not the noun with an `s`.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
