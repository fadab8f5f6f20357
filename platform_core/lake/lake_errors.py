"""What the lake's clients raise, as an error that says which table, what happened, and what to do.

delta-rs and pyarrow raise `DeltaError` or `OSError` for a store that does not answer, for a lost reply and for a log
that is damaged alike. Which of them a caller can mend by itself, a lost race say, stays with the caller.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from platform_core.errors import ServiceDownError, TransientError

_IS_AWAY = re.compile(
    r"[Cc]onnection refused|timed out|[Tt]imeout|dns error|lookup address"
    r"|CURLE_COULDNT|NETWORK_CONNECTION|[Cc]ould(?:n't| not) connect"  # pyarrow's, of gs:// and of s3://
)
FAILED_REQUEST = r"Generic (?:S3|GCS|LocalFileSystem) error"
"""How delta-rs and Sail name a request that the store did not answer well."""

_FAILED = re.compile(rf"{FAILED_REQUEST}|AWS Error|google::cloud::Status")
_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def is_of_the_lake(error: BaseException) -> bool:
    """Return whether a client of the lake has raised this."""
    # Not imported for its class: it costs 0.2 CPU seconds, and the sink never opens a table.
    delta = sys.modules.get("deltalake.exceptions")
    return isinstance(error, OSError) or (delta is not None and isinstance(error, delta.DeltaError))


def outage(error: BaseException) -> type[ServiceDownError] | type[TransientError] | None:
    """Return what a client's error says of the store: it does not answer, it failed, or (None) nothing.

    What is not there, a version of a table say, is no outage.
    """
    if isinstance(error, FileNotFoundError):
        return None  # pyarrow's, of gs://, is a `google::cloud::Status` as a failed request is
    text = str(error)
    return ServiceDownError if _IS_AWAY.search(text) else TransientError if _FAILED.search(text) else None


def in_one_line(error: BaseException) -> str:
    """Return an error's text without the colours and lines that delta-rs draws a chain of causes with."""
    return " ".join(_COLOUR.sub("", str(error)).replace("↳", " ").split()) or type(error).__name__


TRY_AGAIN = "Try again; runs and sensors do so by themselves."
"""What follows the failure of a call that anybody may have made; who knows better says so instead."""


@contextmanager
def answering(uri: str, done: str) -> Iterator[None]:
    """Name the table where the lake's clients fail during the block; that a table does not exist is no failure.

    Args:
        uri: Of the table.
        done: What is done to it, as in "could not be opened".

    Raises:
        ServiceDownError: the store does not answer at all.
        TransientError: the store failed, or the table's log is damaged.
        TableNotFoundError: nobody has created the table.
    """
    try:
        yield
    except Exception as error:
        if not is_of_the_lake(error) or type(error).__name__ == "TableNotFoundError":
            raise
        kind = outage(error) or TransientError
        raise kind(
            f"The lake did not answer: `{uri}` could not be {done}: {in_one_line(error)}. Check that the store runs,"
            " `LAKE_URI` and its variables (`S3_*`, `GCS_*`), then try again; runs and sensors do so by themselves."
        ) from error
