"""What a person may see of a record: e-mail addresses are masked, in any layer, form and depth.

Add here what else nobody should read in a terminal. Masking what is stored belongs to the source, see the domain's
`source` block.
"""

from __future__ import annotations

import json
import re
from typing import Any

ADDRESS = re.compile(r"""([^\s"'@:,;<>]?)[^\s"'@:,;<>]{0,64}@""")
"""What looks like the beginning of an address, in a text of any form; RFC 5321 allows 64 characters."""


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
    return ADDRESS.sub(r"\1***@", value)


def masked_text(text: str) -> str:
    """Return a text that may be shown; one that is JSON is masked by its keys too."""
    try:
        return json.dumps(masked("", json.loads(text)), ensure_ascii=False)
    except ValueError:
        return text
