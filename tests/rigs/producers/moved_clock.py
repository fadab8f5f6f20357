"""A real Postgres whose clock a test moves: libfaketime stands between the server and the machine's clock."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path
from typing import Any

import libfaketime  # type: ignore[import-untyped]

from infra.embedded.processes.temporary import TemporaryFolder
from infra.embedded.services.postgres import Postgres

LIBRARY = Path(libfaketime.__file__).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
SHARED_MEMORY = Path("/dev/shm")


class PostgresWithClock(Postgres):
    """Its clock goes as fast as the machine's, and as far before or behind it as `move` says."""

    def move(self, seconds: float) -> None:
        """Let the server's clock step; what runs in it sees it at once."""
        draft = self._offset.with_suffix(".new")
        draft.write_text(f"{seconds:+f}\n")
        draft.chmod(0o644)
        draft.replace(self._offset)

    def stop(self) -> None:
        super().stop()
        for path in self._shared:
            path.unlink(missing_ok=True)

    def _run(self, argv: Any, *, env: Any = None, **options: Any) -> Any:
        clock = TemporaryFolder("pdp-clock-")
        self._temporary.append(clock)
        clock.path.chmod(0o755)  # the server's user is another one
        library = shutil.copy(LIBRARY, clock.path)
        self._offset = clock.path / "offset"
        self.move(0)
        moved = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_SHARED": " ".join(self._share(f"/{clock.path.name}-{kind}") for kind in ("sem", "shm")),
        }
        return super()._run(argv, env={**(env or {}), **moved}, **options)

    def _share(self, name: str) -> str:
        """Make what libfaketime's processes share, for more than the user that runs the test."""
        if name.endswith("sem"):
            path = SHARED_MEMORY / f"sem.{name[1:]}"
            ctypes.CDLL(None).sem_open(name.encode(), os.O_CREAT, 0o666, 1)
        else:
            path = SHARED_MEMORY / name[1:]
            path.write_bytes(bytes(4096))
        path.chmod(0o666)
        self._shared = [*getattr(self, "_shared", []), path]
        return name
