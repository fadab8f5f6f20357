"""The lake's layout: the only place that builds a path, and the file system that goes with it.

Add a location here when a stage writes somewhere new. What is inside a file belongs to the stage that writes it;
how a table is committed belongs to Delta.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path

import pyarrow.fs as pafs

from platform_core.catalog import Domain
from platform_core.errors import TransientError
from platform_core.settings import Settings


@dataclass(frozen=True)
class BronzeFile:
    """One Parquet file that the sink committed.

    Attributes:
        name: The path below the lake's root.
        size: Bytes.
        modified_at: When the store received it, UTC.
    """

    name: str
    size: int
    modified_at: datetime


class Lake:
    """Paths and file access below one root, a local folder or an object store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.root = settings.lake_uri
        self.is_local = "://" not in self.root

    def uri(self, name: str) -> str:
        """Return the full URI of a path below the root, as delta-rs and pyarrow take it."""
        return self.root + name if self.root.endswith("/") else f"{self.root}/{name}"

    def spark_uri(self, name: str) -> str:
        """Return the full URI as Spark takes it: S3 is reached by the S3A connector."""
        uri = self.uri(name)
        return "s3a://" + uri.removeprefix("s3://") if uri.startswith("s3://") else uri

    def bronze(self, domain: Domain) -> str:
        """Folder of the domain's Bronze files."""
        return f"{domain.bronze.bucket}/{domain.bronze.prefix}"

    def bronze_partition(self, domain: Domain, day: date) -> str:
        """Folder of one date of Bronze, Hive style."""
        return f"{self.bronze(domain)}/{domain.partition_key}={day.isoformat()}"

    def silver(self, domain: Domain) -> str:
        """The domain's Silver table."""
        return f"{domain.silver.bucket}/{domain.silver.prefix}"

    def quarantine(self, domain: Domain) -> str:
        """The domain's quarantine table, beside Silver."""
        return f"{self.silver(domain)}_quarantine"

    def gold(self, domain: Domain, table: str) -> str:
        """One Gold table."""
        prefix = domain.gold.prefix.strip("/")
        return "/".join(part for part in (domain.gold.bucket, prefix, table) if part)

    @property
    def partition_meta(self) -> str:
        """The table of partition states."""
        return "pipeline-metadata/partition_meta"

    @property
    def partition_history(self) -> str:
        """The table of partition transitions."""
        return "pipeline-metadata/partition_history"

    @cached_property
    def filesystem(self) -> pafs.FileSystem:
        """The pyarrow file system of the root; paths on it come from `path`."""
        if self.root.startswith("s3://"):
            s = self._settings
            return pafs.S3FileSystem(
                access_key=s.s3_access_key.get_secret_value() if s.s3_access_key else None,
                secret_key=s.s3_secret_key.get_secret_value() if s.s3_secret_key else None,
                region=s.s3_region,
                endpoint_override=(s.s3_endpoint_url or "").split("://")[-1] or None,
                scheme="http" if (s.s3_endpoint_url or "").startswith("http://") else "https",
                request_timeout=30,
                connect_timeout=10,
                allow_delayed_open=True,  # a small file is one PUT instead of the three requests of a multipart upload
            )
        if self.root.startswith("gs://"):
            return pafs.GcsFileSystem()
        return pafs.LocalFileSystem()

    def path(self, name: str) -> str:
        """Return the path of `name` as `filesystem` takes it, without a scheme."""
        return self.uri(name).split("://", 1)[-1]

    @cached_property
    def storage_options(self) -> dict[str, str]:
        """The options that delta-rs needs for this root; commits are conditional PUTs."""
        if not self.root.startswith("s3://"):
            return {}
        s = self._settings
        options = {"AWS_REGION": s.s3_region, "aws_conditional_put": "etag"}
        if s.s3_endpoint_url:
            options["AWS_ENDPOINT_URL"] = s.s3_endpoint_url
            options["AWS_ALLOW_HTTP"] = str(s.s3_endpoint_url.startswith("http://")).lower()
        if s.s3_access_key and s.s3_secret_key:
            options["AWS_ACCESS_KEY_ID"] = s.s3_access_key.get_secret_value()
            options["AWS_SECRET_ACCESS_KEY"] = s.s3_secret_key.get_secret_value()
        return options

    def list_bronze(self, domain: Domain) -> dict[date, list[BronzeFile]]:
        """List the domain's Bronze files by date, each date's files sorted by name.

        Files and folders whose names begin with `_` or `.` are not data and are left out.

        Raises:
            TransientError: the store did not answer.
        """
        base = self.path(self.bronze(domain))
        try:
            found = self.filesystem.get_file_info(pafs.FileSelector(base, recursive=True, allow_not_found=True))
        except OSError as error:
            raise TransientError(
                f"Listing Bronze of domain `{domain.name}` under `{self.uri(self.bronze(domain))}` failed: {error}."
                " The next tick tries again.",
                domain=domain.name,
            ) from error
        prefix = f"{domain.partition_key}="
        result: dict[date, list[BronzeFile]] = {}
        for info in found:
            folder, _, name = info.path.removeprefix(base).strip("/").partition("/")
            if info.type != pafs.FileType.File or not folder.startswith(prefix) or not name.endswith(".parquet"):
                continue
            if name.startswith((".", "_")):
                continue
            try:
                day = date.fromisoformat(folder.removeprefix(prefix))
            except ValueError:
                continue
            result.setdefault(day, []).append(
                BronzeFile(f"{self.bronze(domain)}/{folder}/{name}", info.size, info.mtime)
            )
        return {day: sorted(files, key=lambda f: f.name) for day, files in sorted(result.items())}

    def prepare(self) -> None:
        """Create the root folder of a local lake."""
        if self.is_local:
            Path(self.root).mkdir(parents=True, exist_ok=True)
