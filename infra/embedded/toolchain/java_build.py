"""The repository's own Java, compiled to a jar at the first use: a runtime without javac is enough.

What a class does belongs to its source; which services need a jar, and its class path, is said by `toolchain`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from infra.embedded.errors import ToolchainError
from infra.embedded.toolchain.java import OLDEST, Jdk

_SECONDS = 120
_ONE_DATE_FOR_ALL = (1980, 1, 1, 0, 0, 0)


def build_jar(
    name: str, sources: Sequence[Path], folder: Path, *, jdk: Jdk, compiler: Path, classpath: Sequence[Path]
) -> Path:
    """Return the jar of the sources, compiled when the folder does not have it yet.

    Its name has a digest of what it is made of, so a changed source is compiled again and never mistaken for the old
    one. The caller holds the toolchain's lock.

    Args:
        name: What the jar is called.
        sources: Files of Java, each with a package of its own choice.
        folder: Where jars are kept.
        compiler: The jar of the Eclipse compiler, which runs on a runtime that has no compiler.
        classpath: What the sources import.

    Raises:
        ToolchainError: the sources do not compile.
    """
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    for jar in (compiler, *classpath):
        digest.update(jar.name.encode())
    target = folder / f"{name}-{digest.hexdigest()[:12]}.jar"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as scratch:
        classes = Path(scratch) / "classes"
        _compile(name, sources, classes, jdk=jdk, compiler=compiler, classpath=classpath)
        draft = Path(scratch) / target.name
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(classes.rglob("*.class")):
                entry = zipfile.ZipInfo(path.relative_to(classes).as_posix(), _ONE_DATE_FOR_ALL)
                archive.writestr(entry, path.read_bytes())
        draft.replace(target)
    return target


def _compile(
    name: str, sources: Sequence[Path], classes: Path, *, jdk: Jdk, compiler: Path, classpath: Sequence[Path]
) -> None:
    command: list[str | Path] = [jdk.java, "-XX:TieredStopAtLevel=1", "-jar", compiler, f"-{OLDEST}", "-nowarn"]
    command += ["-encoding", "UTF-8", "-cp", os.pathsep.join(map(str, classpath)), "-d", classes, *sources]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"The Java of `{name}` could not be compiled with `{jdk.java}`: {error}.") from error
    if done.returncode:
        raise ToolchainError(f"The Java of `{name}` does not compile:\n{(done.stderr + done.stdout).strip()}")
