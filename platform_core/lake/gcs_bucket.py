"""A bucket of Google Cloud Storage, as each client takes it.

Four clients read and write the same bucket: pyarrow, delta-rs, Sail and Spark's connector. What every store has in
common belongs to `store_access`; what only Google's own service can prove is listed in docs/operations.md.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.fs as pafs

from platform_core.errors import ConfigurationError
from platform_core.lake.store_access import StoreAccess
from platform_core.settings import Settings

_CONNECTOR = "spark.hadoop.fs.gs."
_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 30
CHECK_ANSWER_SECONDS = 12
"""Of the check at start, which may ask twice, so that a person waits for less than 30 s."""
_PAUSES = 3
"""Spark's connector and delta-rs count attempts; three pauses that double from a second take as long as ten seconds."""


class GcsBucket(StoreAccess):
    """The bucket of a gs:// lake.

    Commits of Delta are conditional PUTs (generation 0) with delta-rs, Sail and Spark, so several writers of a table
    never overwrite each other.

    Raises:
        ConfigurationError: `GOOGLE_APPLICATION_CREDENTIALS` names no key file of a service account.
    """

    def __init__(self, settings: Settings) -> None:
        self._root = settings.lake_uri
        self._endpoint = settings.gcs_endpoint_url
        self._retry_seconds = settings.gcs_retry_seconds
        self._key_file = None if self._endpoint else settings.google_application_credentials
        if self._key_file is not None:
            _check_key_file(self._key_file)

    def filesystem(self) -> pafs.FileSystem:
        """Return the file system of pyarrow, which reads GOOGLE_APPLICATION_CREDENTIALS by itself."""
        # It looks at the limit after each pause, and pauses double: with 10 s it gives up after 12 to 22 s.
        limit = timedelta(seconds=self._retry_seconds)
        if self._endpoint is None:
            return pafs.GcsFileSystem(retry_time_limit=limit)
        parts = urlsplit(self._endpoint)
        return pafs.GcsFileSystem(
            anonymous=True, scheme=parts.scheme, endpoint_override=parts.netloc, retry_time_limit=limit
        )

    def folder_view(self) -> pafs.FileSystem:
        """Return the file system that lists folders, by delta-rs.

        pyarrow's own lists a folder only if an object stands for it, whose name ends with a slash; nothing writes such
        objects. This one keeps Python's lock until the store has answered, so it is for nothing else.
        """
        return self._folders(self.storage_options())

    def _folders(self, options: dict[str, str]) -> pafs.FileSystem:
        from deltalake.fs import DeltaStorageHandler

        return pafs.PyFileSystem(DeltaStorageHandler(self._root, options))

    def check(self, *, writes: bool) -> None:
        """Raise what is wrong with the variables, see `StoreAccess.check`."""
        from platform_core.lake.gcs_check import AskedGcsBucket, check_bucket

        asked = AskedGcsBucket(self._root, self._endpoint, self._key_file is not None)
        folders = self._folders({**self.storage_options(), "google_timeout": f"{round(1000 * CHECK_ANSWER_SECONDS)}ms"})
        check_bucket(asked, folders, self.filesystem(), writes=writes)

    def storage_options(self) -> dict[str, str]:
        """Return the options of delta-rs."""
        return {
            **self._object_store(),
            "max_retries": str(_PAUSES),
            "retry_timeout": f"{self._retry_seconds:g}s",
        }

    def sail_environment(self) -> dict[str, str]:
        """Return the environment of Sail's server. It retries ten times within 180 s and has no option for that."""
        return {name.upper(): value for name, value in self._object_store().items()}

    def _object_store(self) -> dict[str, str]:
        """Return what delta-rs and Sail share: both are built on the crate object_store.

        https://docs.rs/object_store/latest/object_store/gcp/enum.GoogleConfigKey.html
        """
        options = {"google_connect_timeout": f"{_CONNECT_SECONDS}s", "google_timeout": f"{_ANSWER_SECONDS}s"}
        if self._endpoint is not None:
            # The only way to say both in every version of the crate; without it the clients ask the metadata address of
            # a machine at Google for a token.
            login = {"gcs_base_url": self._endpoint, "disable_oauth": True}
            nobody = {"client_email": "", "private_key": "", "private_key_id": ""}
            options["google_service_account_key"] = json.dumps({**login, **nobody})
            options["google_allow_http"] = str(self._endpoint.startswith("http://")).lower()
        elif self._key_file is not None:
            options["google_application_credentials"] = str(self._key_file)
        return options

    def spark_properties(self) -> dict[str, str]:
        """Return the properties of the connector, and of Delta's log store for it.

        https://github.com/GoogleCloudDataproc/hadoop-connectors/blob/master/gcs/CONFIGURATION.md
        """
        properties = {
            "spark.delta.logStore.gs.impl": "io.delta.storage.GCSLogStore",
            # Hadoop 3.5 has an older connector of its own under the same scheme, with defaults that this one cannot
            # read: it fails at once with `NumberFormatException: For input string: "64m"`.
            f"{_CONNECTOR}impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem",
            "spark.hadoop.fs.AbstractFileSystem.gs.impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFS",
            f"{_CONNECTOR}block.size": str(64 * 1024 * 1024),
            f"{_CONNECTOR}inputstream.fadvise": "AUTO",
            f"{_CONNECTOR}http.max.retry": str(_PAUSES),
            f"{_CONNECTOR}http.connect-timeout": str(1000 * _CONNECT_SECONDS),
            f"{_CONNECTOR}http.read-timeout": str(1000 * _ANSWER_SECONDS),
        }
        if self._endpoint is not None:
            properties[f"{_CONNECTOR}auth.type"] = "UNAUTHENTICATED"
            properties[f"{_CONNECTOR}storage.root.url"] = f"{self._endpoint}/"
        elif self._key_file is not None:
            properties[f"{_CONNECTOR}auth.type"] = "SERVICE_ACCOUNT_JSON_KEYFILE"
            properties[f"{_CONNECTOR}auth.service.account.json.keyfile"] = str(self._key_file)
        else:
            properties[f"{_CONNECTOR}auth.type"] = "APPLICATION_DEFAULT"
        return properties


def _check_key_file(path: Path) -> None:
    try:
        kind = json.loads(path.read_bytes()).get("type")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"`GOOGLE_APPLICATION_CREDENTIALS` names `{path}`, which cannot be read as a key file"
            f" ({type(error).__name__}). Name the JSON key of a service account, or leave it empty for the ambient"
            " credentials."
        ) from None
    if kind != "service_account":
        raise ConfigurationError(
            f"`GOOGLE_APPLICATION_CREDENTIALS` names `{path}`, which is of the type `{kind}`. Spark, Sail and delta-rs"
            " have only the type `service_account` in common; leave the variable empty for Workload Identity."
        )
