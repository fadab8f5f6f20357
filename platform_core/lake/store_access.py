"""How every client of the lake reaches the store that LAKE_URI names: one description, a view for each client.

A kind of store is a module beside this one (`s3_bucket`, `gcs_bucket`); nothing else in the platform knows an endpoint,
a key or a client's option for it. Paths below the root belong to `lake`, and the check at start to
`s3_check` and `gcs_check`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from platform_core.settings import Settings

if TYPE_CHECKING:
    import pyarrow.fs as pafs


class StoreAccess(ABC):
    """The views of one store. Where no key is set, each client takes its ambient credentials."""

    is_local = False

    @abstractmethod
    def filesystem(self) -> pafs.FileSystem:
        """Return the file system of pyarrow, which DuckDB reads by too."""

    def folder_view(self) -> pafs.FileSystem | None:
        """Return the file system that lists folders, its paths below the lake's root; None is pyarrow's."""
        return None

    def storage_options(self) -> dict[str, str]:
        """Return the options of delta-rs; they may hold keys."""
        return {}

    def sail_environment(self) -> dict[str, str]:
        """Return the environment of the process that serves Sail; it may hold keys."""
        return {}

    def spark_properties(self) -> dict[str, str]:
        """Return the properties of a Spark application, `spark.hadoop.fs...`.

        They may hold keys: write them to a file that its owner alone reads, never to a command line.
        """
        return {}

    def check(self, *, writes: bool) -> None:  # noqa: B027 - a store without a check is no mistake
        """Ask the store whether the variables are right, when a process starts. A folder needs no question.

        Args:
            writes: The process commits to tables, so the store must keep two writers apart.

        Raises:
            ConfigurationError: a variable is wrong, or the store cannot hold tables; the sentence says what to do.
            ServiceDownError: the store does not answer.
        """

    def spark_uri(self, uri: str) -> str:
        """Return a URI below the root as the engines take it."""
        return uri


class LocalFolder(StoreAccess):
    """A folder of this machine: no client needs to know anything."""

    is_local = True

    def filesystem(self) -> pafs.FileSystem:
        """Return the file system of pyarrow."""
        import pyarrow.fs as pafs

        return pafs.LocalFileSystem()


def store_access(settings: Settings) -> StoreAccess:
    """Return the access to the store of a lake, by the scheme of its URI."""
    if settings.lake_uri.startswith("s3://"):
        from platform_core.lake.s3_bucket import S3Bucket

        return S3Bucket(settings)
    if settings.lake_uri.startswith("gs://"):
        from platform_core.lake.gcs_bucket import GcsBucket

        return GcsBucket(settings)
    return LocalFolder()
