"""The base of every block of `domains.yaml`: a key that nobody knows is a mistake.

Only what all blocks share belongs here; the blocks are in `platform_core.domain.catalog` and
`platform_core.domain.source`.
"""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

NAME = r"^[a-z][a-z0-9_]*$"


def _written_as_text(value: Any) -> Any:
    if not isinstance(value, str | time):
        raise ValueError(f"{value!r} is no time of day; write it as HH:MM")
    return value


TimeOfDay = Annotated[time, BeforeValidator(_written_as_text)]
"""A time of day, UTC. A number, which could be one of seconds, is refused."""


class Entry(BaseModel):
    """A frozen block of the file, with its legal keys and no others."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_legal_keys_only(cls, entry: Any) -> Any:
        unknown = sorted(entry.keys() - cls.model_fields.keys()) if isinstance(entry, dict) else []
        if unknown:
            legal = ", ".join(name for name, key in cls.model_fields.items() if not key.exclude)
            raise ValueError(f"`{unknown[0]}` is unknown. Legal keys are {legal}")
        return entry
