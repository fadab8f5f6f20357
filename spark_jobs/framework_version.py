"""The version of the platform's own code that makes Silver's rows: what a domain's `code_version` leaves out.

A domain's package and its entry in domains.yaml are `platform_core.domain.code_version`'s.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("spark_jobs", "plugin_kit", "platform_core.domain")


@cache
def framework_version() -> str:
    """Return the SHA-256 (12 hex digits) of the modules that read, transform and judge a date, and of their client."""
    digest = hashlib.sha256(version("pyspark").encode())
    for package in _PACKAGES:
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package}.{path.relative_to(folder)}".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
