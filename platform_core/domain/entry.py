"""The base of every block of `domains.yaml`: a key that nobody knows is a mistake.

Only what all blocks share belongs here; the blocks are in `platform_core.domain.catalog` and
`platform_core.domain.source`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

NAME = r"^[a-z][a-z0-9_]*$"


class Entry(BaseModel):
    """A frozen block of the file, with its legal keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)
