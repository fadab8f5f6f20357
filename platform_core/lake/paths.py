"""The names below the lake's root that are no domain's own, and how a table is named from a layer's bucket and prefix.

The catalog compares domains by them before there is a lake, and a store's check at start writes below them; everybody
else asks `platform_core.lake.lake`.
"""

from __future__ import annotations

METADATA = "pipeline-metadata"
"""The platform's own folder, or bucket where each folder of the lake is one."""

STORE_PROBE = f"{METADATA}/store_probe"
"""The object by which the check at start asks a store whether it may write, and whether it honours If-None-Match."""


def below(bucket: str, prefix: str) -> str:
    """Return the folder of a domain's Bronze, or its Silver table."""
    return f"{bucket}/{prefix}"


def quarantine_beside(silver: str) -> str:
    """Return the quarantine table of a Silver table."""
    return f"{silver}_quarantine"


def key_versions_beside(silver: str) -> str:
    """Return the table of latest versions of a Silver table."""
    return f"{silver}_versions"


def gold_table(bucket: str, prefix: str, table: str) -> str:
    """Return one Gold table."""
    return "/".join(part for part in (bucket, prefix.strip("/"), table) if part)
