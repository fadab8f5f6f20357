"""E-mail addresses masked in whatever a person is shown of a record.

Only the masking of what is shown belongs here; what leaves a source is masked by its query. A value is judged by its
content and not by its name: a property that nobody knows may hold an address too.
"""

from __future__ import annotations

import json
import re
from typing import Any

# A word is taken whole, whether it is an address or not: a search for an `@` from each of its characters would take
# hours for a value of 5 MB.
_WORD = re.compile(r'"[^"]*"@\S+|\S+')


def without_addresses(value: Any) -> Any:
    """Return a value with the first character and the domain of each address in it, also within JSON text."""
    if isinstance(value, dict):
        return {name: without_addresses(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_addresses(each) for each in value]
    if not isinstance(value, str) or "@" not in value:
        return value
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict | list):
        return json.dumps(without_addresses(document), ensure_ascii=False)
    return _WORD.sub(_masked, value)


def _masked(word: re.Match[str]) -> str:
    # The last @ separates: a quoted name before it may have others.
    name, at, domain = word[0].rpartition("@")
    return f"{name[0]}***@{domain}" if at and name else word[0]
