"""What an engine's exception means for the platform: permanent or transient.

Add a condition here when a failure is retried in vain, or is given up too early. Sentences about data and
configuration that the jobs can write themselves are raised where they are found.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from pyspark.errors import AnalysisException, ParseException, PySparkException

from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, PlatformError, TransientError

_CONFLICT = ("DELTA_CONCURRENT", "ConcurrentModification", "transaction conflict")


@contextmanager
def translate_engine_errors(job: str, domain: Domain, day: date) -> Iterator[None]:
    """Turn an engine's exception into a `PlatformError` that names job, domain and date.

    A plan that the engine refuses (an unknown column, a wrong expression) is permanent. Anything else, from a lost
    connection to a full disk, may pass: the partition state machine bounds how often it is tried.

    Raises:
        PermanentError: the engine refused the plan.
        TransientError: the engine failed otherwise.
    """
    try:
        yield
    except PlatformError:
        raise
    except (PySparkException, OSError, ConnectionError) as error:
        text = str(error).split("\n\nJVM stacktrace")[0].strip()
        where = f"Job `{job}`, domain `{domain.name}`, date {day.isoformat()}"
        if isinstance(error, AnalysisException | ParseException) and not any(mark in text for mark in _CONFLICT):
            raise PermanentError(
                f"{where}: the engine refused the query: {text}. Correct the domain's transform, aggregation or"
                " rules, then reset the date."
            ) from error
        raise TransientError(
            f"{where}: the engine failed: {text}. It is tried again; if it stays, look at the Spark server's log."
        ) from error
