"""What is wrong with the variables of a bucket at Google, said in one sentence when a process starts.

One request lists the lake's root, as discovery does; a process that commits to tables also writes an object that stays.
How clients reach the bucket later belongs to `gcs_bucket`. Whether writers overwrite each other is not asked: Google's
service has no other API.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow.fs as pafs

from platform_core.errors import ConfigurationError, PlatformError, ServiceDownError
from platform_core.lake.paths import STORE_PROBE

_PROBE_TEXT = b"The platform asks with this object whether it may write to the bucket. Leave it here.\n"
_COLOURS_AND_ARROWS = re.compile(r"\x1b\[[0-9;]*m|↳")
_STATUS = re.compile(r"non-2xx status code:?\s+(\d{3})|http_status_code=(\d{3})")


@dataclass(frozen=True)
class AskedGcsBucket:
    """A bucket, and how it is asked.

    Attributes:
        root: The lake's URI.
        endpoint: Of an emulator, None for Google.
        key_file: Whether a key file is set.
    """

    root: str
    endpoint: str | None
    key_file: bool

    @property
    def store(self) -> str:
        """What a person calls the store."""
        return f"Google Cloud Storage at {self.endpoint}" if self.endpoint else "Google Cloud Storage"

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.root.removeprefix("gs://").partition("/")[0]


def check_bucket(asked: AskedGcsBucket, folders: pafs.FileSystem, files: pafs.FileSystem, *, writes: bool) -> None:
    """List the lake's root, and with `writes` put an object there.

    Args:
        asked: Whom, for the sentences.
        folders: Lists the root as the empty path.
        files: Takes paths with the bucket.

    Raises:
        ConfigurationError: a variable or a right is wrong; the sentence says what to do.
        ServiceDownError: the store does not answer.
    """
    action = "list"
    try:
        folders.get_file_info(pafs.FileSelector("", allow_not_found=True))
        if writes:
            action = "write to"
            with files.open_output_stream(
                f"{asked.root.removeprefix('gs://')}/{STORE_PROBE}", compression=None
            ) as stream:
                stream.write(_PROBE_TEXT)
    except OSError as error:
        raise _translated(asked, str(error), action) from None


def _translated(asked: AskedGcsBucket, text: str, action: str) -> PlatformError:
    found = _STATUS.search(_COLOURS_AND_ARROWS.sub("", text))
    status = int(found[1] or found[2]) if found else 0
    another = "name the key of another service account in `GOOGLE_APPLICATION_CREDENTIALS`"
    if "token request" in text or "Could not create a OAuth2 access token" in text:
        return ConfigurationError(
            f"There are no credentials for the bucket of `LAKE_URI`: give this process Workload Identity, or {another}."
        )
    if status == 404:
        return ConfigurationError(
            f"{asked.store} has no bucket `{asked.bucket}`: create it, or correct the bucket in `LAKE_URI`."
        )
    if status == 401:
        source = "of `GOOGLE_APPLICATION_CREDENTIALS`" if asked.key_file else "of this process"
        return ConfigurationError(f"{asked.store} does not accept the credentials {source}: renew them, or {another}.")
    if status == 403:
        return ConfigurationError(
            f"{asked.store} lets these credentials not {action} the bucket `{asked.bucket}`: give them the role"
            f" `roles/storage.objectUser` on it, or {another}."
        )
    if 400 <= status < 500 and status != 429:
        return ConfigurationError(
            f"{asked.store} answers {status} where the objects of a bucket were asked for: `GCS_ENDPOINT_URL` must be"
            " empty, or the address of an emulator with both APIs."
        )
    what = f"it answers {status}" if status else _reason(text)
    return ServiceDownError(
        f"{asked.store} is not reached: {what}. `GCS_ENDPOINT_URL` must be empty, or the address of an emulator that"
        " runs; without it this machine must reach https://storage.googleapis.com."
    )


def _reason(text: str) -> str:
    lines = [line.strip() for line in _COLOURS_AND_ARROWS.sub("", text).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "no answer"
