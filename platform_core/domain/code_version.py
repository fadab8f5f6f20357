"""The version of a domain's code: what makes its Silver and Gold other than before for the same Bronze.

The domain's package and its entry in domains.yaml count; the framework does not, because a change there is released,
and backfilled, as a whole.
"""

from __future__ import annotations

import hashlib

from platform_core.domain.catalog import Domain

# What describes the domain or fills its topic: the same Bronze makes the same Silver whatever these say.
NOT_COMPUTED_FROM = {
    "folder",
    "description",
    "owner",
    "schedule",
    "sla_deadline",
    "max_retries",
    "start_date",
    "source",
}


def code_version(domain: Domain) -> str:
    """Return the SHA-256 (12 hex digits) of the domain's modules, its contract and its entry, as they are on disk."""
    digest = hashlib.sha256(domain.model_dump_json(exclude=NOT_COMPUTED_FROM).encode())
    for path in sorted([*domain.folder.glob("*.py"), domain.folder / "contract.json"]):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
