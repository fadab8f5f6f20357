"""Programs that the embedded services run, found on the machine or installed into `.platform/toolchain`.

Which service needs what belongs to the services; this module only hands out paths and installs under one
lock. The folder is a cache: removing it costs one download.
"""

from __future__ import annotations

import fcntl
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from infra.embedded.progress import Reporter
from infra.embedded.services.postgres_binaries import find_postgres
from infra.embedded.services.spark.jvm import pyspark_home
from infra.embedded.toolchain import artifacts
from infra.embedded.toolchain.java import Jdk, find_java
from infra.embedded.toolchain.java_build import build_jar

REPOSITORY = Path(__file__).resolve().parents[3]
DEFAULT_FOLDER = REPOSITORY / ".platform" / "toolchain"
_LOG_STORE = REPOSITORY / "infra" / "delta_log_store" / "ConditionalS3LogStore.java"


class Toolchain:
    """Finds or installs what the services run; several processes may share one folder.

    Args:
        folder: Where downloads and unpacked programs are kept.
    """

    def __init__(self, folder: Path = DEFAULT_FOLDER, reporter: Reporter | None = None) -> None:
        self.folder = folder
        self.reporter = reporter or Reporter()
        self._thread_lock = threading.Lock()

    @cached_property
    def jdk(self) -> Jdk:
        """A Java runtime of version 17 to 21."""
        with self._exclusive():
            return find_java(self.folder)

    @cached_property
    def postgres(self) -> Path:
        """The folder of Postgres's programs."""
        return find_postgres()

    @cached_property
    def kafka_jars(self) -> list[Path]:
        """Kafka's class path."""
        with self._exclusive():
            return artifacts.ensure("kafka", self.folder / "jars" / "kafka", self.reporter)

    @cached_property
    def delta_jars(self) -> list[Path]:
        """What Delta needs on Spark's class path besides the jars that pyspark brings."""
        with self._exclusive():
            return artifacts.ensure("delta", self.folder / "jars" / "delta", self.reporter)

    @cached_property
    def s3a_jars(self) -> list[Path]:
        """What a lake in a bucket needs on Spark's class path besides: S3A, and the log store built here."""
        with self._exclusive():
            fetched = artifacts.ensure("s3a", self.folder / "jars" / "s3a", self.reporter)
        return [*fetched, self.compiled("delta-log-store", _LOG_STORE)]

    @cached_property
    def gcs_jars(self) -> list[Path]:
        """What a lake at Google needs on Spark's class path besides: the connector, 40 MB."""
        with self._exclusive():
            return artifacts.ensure("gcs", self.folder / "jars" / "gcs", self.reporter)

    def compiled(self, name: str, *sources: Path) -> Path:
        """Return a jar of the repository's own Java, which may import Delta's storage and Hadoop's client."""
        [storage] = [jar for jar in self.delta_jars if jar.name.startswith("delta-storage-")]
        [hadoop] = (pyspark_home() / "jars").glob("hadoop-client-api-*.jar")
        jdk = self.jdk
        with self._exclusive():
            [compiler] = artifacts.ensure("ecj", self.folder / "jars" / "ecj", self.reporter)
            return build_jar(
                name,
                sources,
                self.folder / "jars" / "built",
                jdk=jdk,
                compiler=compiler,
                classpath=[storage, hadoop],
            )

    @cached_property
    def s3proxy(self) -> Path:
        """The runnable jar of the S3 server."""
        with self._exclusive():
            [jar] = artifacts.ensure("s3proxy", self.folder / "jars" / "s3proxy", self.reporter)
            return jar

    @cached_property
    def apicurio(self) -> Path:
        """The runnable jar of Apicurio Registry, in its unpacked folder."""
        with self._exclusive():
            [item] = artifacts.locked("apicurio")
            home = self.folder / f"{item.artifact_id}-{item.version}"
            jar = home / f"{item.artifact_id}-{item.version}-runner.jar"
            if not jar.is_file():
                [archive] = artifacts.ensure("apicurio", self.folder / "downloads", self.reporter)
                _unpack(archive, home)
                # 109 MB that nothing reads again.
                archive.unlink()
            return jar

    def everything(self) -> None:
        """Fetch each locked artifact, also what only a bucket or a test needs."""
        for group in artifacts.groups():
            if group != "apicurio":
                with self._exclusive():
                    artifacts.ensure(group, self.folder / "jars" / group, self.reporter)
        _ = self.apicurio

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        # The kernel releases a flock when the process dies, however it dies.
        with self._thread_lock, (self.folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _unpack(archive: Path, home: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=home.parent) as scratch:
        target = Path(scratch) / "content"
        with tarfile.open(archive) as tar:
            # Python before 3.11.4 has no filters; the archive's digest is checked, so its names are known good.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(target)
        if home.exists():
            shutil.rmtree(home)
        target.replace(home)
