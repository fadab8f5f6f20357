"""What a person may see of a record: e-mail addresses are masked, in any layer, form and depth.

Add here what else nobody should read in a terminal. Masking what is stored belongs to the source, see the domain's
`source` block.
"""

from __future__ import annotations

import json
import re
from typing import Any

LOCAL_PART = re.compile(r"""([^\s"'@:,;<>]?)[^\s"'@:,;<>]*$""")
LOCAL_CHARACTERS = 64
"""What may stand before the `@` of an address, RFC 5321."""


def masked(name: str, value: Any) -> Any:
    """Return a value that may be shown: of an e-mail address the first letter and what is behind its last `@`."""
    if isinstance(value, dict):
        return {key: masked(str(key), each) for key, each in value.items()}
    if isinstance(value, list):
        return [masked(name, each) for each in value]
    if not isinstance(value, str) or "@" not in value:
        return value
    if "mail" in name.lower():
        local, _, behind = value.rpartition("@")
        return f"{local[:1]}***@{behind}"
    *before, last = value.split("@")
    return "@".join([*map(_without_local_part, before), last])


def _without_local_part(text: str) -> str:
    kept, end = text[:-LOCAL_CHARACTERS], text[-LOCAL_CHARACTERS:]
    return kept + LOCAL_PART.sub(r"\1***", end, count=1)


def masked_text(text: str) -> str:
    """Return a text that may be shown; one that is JSON is masked by its keys too."""
    try:
        return json.dumps(masked("", json.loads(text)), ensure_ascii=False)
    except ValueError:
        return text


def without_values(error: Exception) -> str:
    """Return the first line of an engine's error without the values that it quotes."""
    return re.sub(r"""'[^']*'|"[^"]*\"""", "'…'", (str(error).strip() or type(error).__name__).split("\n", 1)[0])
