"""Java artifacts by coordinate: fetched once, checked against the lock, kept in the toolchain folder.

What an artifact is used for belongs to the service that names its group. The lock (`artifacts.lock`) maps
`group:artifact:version[:packaging:classifier]` to a SHA-256, so that a build fetches the same bytes
everywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import ssl
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.errors import DownloadError, ToolchainError
from infra.embedded.progress import Reporter

LOCK_FILE = Path(__file__).with_name("artifacts.lock")
_PARALLEL_DOWNLOADS = 6
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Artifact:
    """One file in a Maven repository, with the digest that it must have."""

    group_id: str
    artifact_id: str
    version: str
    packaging: str
    classifier: str
    sha256: str

    @classmethod
    def parse(cls, coordinate: str, sha256: str) -> Artifact:
        """Read `group:artifact:version[:packaging:classifier]`."""
        parts = coordinate.split(":")
        if len(parts) not in (3, 5):
            raise ToolchainError(
                f"`{coordinate}` in `{LOCK_FILE.name}` is not "
                "`group:artifact:version[:packaging:classifier]`; write the lock again with "
                "`python -m infra.embedded.toolchain.lock_artifacts`.",
            )
        packaging, classifier = parts[3:] if len(parts) == 5 else ("jar", "")
        return cls(parts[0], parts[1], parts[2], packaging, classifier, sha256)

    @property
    def coordinate(self) -> str:
        """The artifact as the lock writes it."""
        tail = "" if self.packaging == "jar" and not self.classifier else f":{self.packaging}:{self.classifier}"
        return f"{self.group_id}:{self.artifact_id}:{self.version}{tail}"

    @property
    def filename(self) -> str:
        """The file's name in a repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact_id}-{self.version}{classifier}.{self.packaging}"


def groups() -> list[str]:
    """Return the groups of the lock."""
    return list(tomllib.loads(LOCK_FILE.read_text(encoding="utf-8")))


def locked(group: str, lock_file: Path = LOCK_FILE) -> list[Artifact]:
    """Return the locked artifacts of one group, for example `kafka`, in the lock's order.

    Raises:
        ToolchainError: the lock has no such group.
    """
    groups = tomllib.loads(lock_file.read_text(encoding="utf-8"))
    if group not in groups:
        raise ToolchainError(f"`{lock_file.name}` has no group `{group}`; it has {', '.join(sorted(groups))}.")
    return [Artifact.parse(coordinate, digest) for coordinate, digest in groups[group].items()]


def ensure(group: str, folder: Path, reporter: Reporter, lock_file: Path = LOCK_FILE) -> list[Path]:
    """Return the group's files in `folder`, fetching those that are missing.

    A file appears under its name only when it is complete and has the locked digest, so a killed download
    leaves nothing that a later start would trust. The caller holds the toolchain's lock.

    Raises:
        DownloadError: a file could not be fetched.
        ToolchainError: a fetched file is not the locked one.
    """
    artifacts = locked(group, lock_file)
    if any(_missing(artifacts, folder)):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".incoming-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            _fetch_all(group, _missing(artifacts, folder), folder, reporter)
        except _UntrustedError:
            with _machines_certificates():
                _fetch_all(group, _missing(artifacts, folder), folder, reporter)
    return [folder / item.filename for item in artifacts]


def _missing(artifacts: list[Artifact], folder: Path) -> list[Artifact]:
    return [item for item in artifacts if not (folder / item.filename).is_file()]


class _UntrustedError(DownloadError):
    """The repository's certificate is signed by an authority that the Python packages do not know."""


@contextlib.contextmanager
def _machines_certificates() -> Iterator[None]:
    """Trust what the machine trusts: a company's own authority is in its store, not in Python's package."""
    store = ssl.get_default_verify_paths()
    bundle = store.cafile or store.capath
    if bundle is None or "REQUESTS_CA_BUNDLE" in os.environ:
        yield
        return
    # The only way to tell jgo, which has no parameter for it.
    os.environ["REQUESTS_CA_BUNDLE"] = bundle
    try:
        yield
    finally:
        del os.environ["REQUESTS_CA_BUNDLE"]


def _fetch_all(group: str, missing: list[Artifact], folder: Path, reporter: Reporter) -> None:
    with (
        reporter.downloads(group, len(missing)) as begin,
        ThreadPoolExecutor(_PARALLEL_DOWNLOADS, thread_name_prefix="download") as pool,
    ):
        futures = [pool.submit(_fetch, item, folder, begin) for item in missing]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(item: Artifact, folder: Path, begin: Callable[[str, int], Callable[[int], None]]) -> None:
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as scratch:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                path = download(item, Path(scratch) / str(attempt), begin)
                break
            except Exception as error:
                untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
                if untrusted or attempt == _ATTEMPTS:
                    kind = _UntrustedError if untrusted else DownloadError
                    raise kind(
                        f"`{item.coordinate}` could not be downloaded in {attempt} attempts: {error}. "
                        "Check the network, then start again; finished files are kept.",
                    ) from error
                time.sleep(attempt)
        digest = sha256_of(path)
        if digest != item.sha256:
            raise ToolchainError(
                f"`{item.coordinate}` has SHA-256 {digest} but `{LOCK_FILE.name}` says {item.sha256}; the "
                "file was thrown away. Compare with the publisher before changing the lock.",
            )
        path.replace(folder / item.filename)


def download(item: Artifact, cache: Path, begin: Callable[[str, int], Callable[[int], None]] | None = None) -> Path:
    """Fetch one artifact into the folder `cache`, unchecked, and return its path."""
    # jgo is pure Python and needs no JVM; imported here because `requests` alone costs 0.1 s of every start.
    from jgo.maven import MavenContext, PythonResolver

    @contextlib.contextmanager
    def progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
        yield begin(name, total) if begin else lambda _chunk: None

    context = MavenContext(
        resolver=PythonResolver(progress_callback=progress), repo_cache=cache, timeout=_TIMEOUT_SECONDS
    )
    component = context.project(item.group_id, item.artifact_id).at_version(item.version)
    return Path(component.artifact(classifier=item.classifier, packaging=item.packaging).resolve())


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
