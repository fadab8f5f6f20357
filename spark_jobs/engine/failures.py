"""What an engine's exception means for the platform: permanent or transient.

Add a condition here when a failure is retried in vain, or is given up too early. Sentences about data and
configuration that the jobs can write themselves are raised where they are found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date

import pyspark.errors as pe

from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, PlatformError, ServiceDownError, TransientError
from platform_core.lake.lake_errors import FAILED_REQUEST, in_one_line, is_of_the_lake

_REFUSED_PLAN = (pe.AnalysisException, pe.ParseException, pe.IllegalArgumentException, pe.UnsupportedOperationException)
_REFUSED_VALUE = (pe.ArithmeticException, pe.NumberFormatException, pe.DateTimeException)

# Both engines raise some errors of data under a general class; then the text tells.
_VALUE = re.compile(
    r"ARITHMETIC_OVERFLOW|NUMERIC_VALUE_OUT_OF_RANGE|DIVIDE_BY_ZERO|DATETIME_OVERFLOW|CAST_INVALID_INPUT|CAST_OVERFLOW"
    r"|CANNOT_PARSE|[Dd]ivi(?:sion|de) by zero|Cast error|Arithmetic overflow|Invalid argument error"
)
_FILE = re.compile(
    r"FAILED_READ_FILE\.(?!NO_HINT)|CANNOT_READ_FILE_FOOTER|[Cc]orrupt|Invalid Parquet file|Schema error"
    r"|Parquet (?:argument )?error"
)
_PERHAPS_FILE = re.compile(r"FAILED_READ_FILE\.NO_HINT")  # Spark says so of a damaged page and of a store that is away
# An engine that was started again knows neither the session nor the query that the client asks about.
_PASSES = re.compile(
    r"DELTA_CONCURRENT|ConcurrentModification|transaction conflict|INVALID_HANDLE|(?:operation|session) not found"
    rf"|[Oo]bject.?[Ss]tore|{FAILED_REQUEST}"  # also of a page that the store did not give
)
_QUOTED, _HIDDEN = re.compile(r"'[^'\n]*'"), "'…'"
_UNREACHABLE = re.compile(
    r"StatusCode\.(?:UNAVAILABLE|DEADLINE_EXCEEDED)|failed to connect|Connection refused"
    # The cluster ended the driver's application: the server answers, and runs nothing any more.
    r"|Master removed our application|stopped SparkContext|SparkContext (?:was|has been) (?:shut ?down|stopped)"
)
# The lake's store as the engine meets it, whose server may have other keys, another endpoint or fewer jars than this
# process, which has read the date's files already.
_OF_A_STORE = re.compile(r"s3a://|gs://")
_STORE_IS_AWAY = re.compile(
    r"ConnectException|Connection refused|UnknownHost|Unable to execute HTTP request|[Tt]imed? ?out"
)
_STORE_REFUSES = re.compile(
    r"AccessDenied|Forbidden|Status Code: (?:301|400|403)|NoSuchBucket|UnknownStoreException|No AWS Credentials"
    r"|NoAuthWithAWS|InvalidAccessKeyId|SignatureDoesNotMatch"
)
_NO_CONNECTOR = re.compile(r"No FileSystem for scheme|Class \S+ not found|ClassNotFoundException\W+\S+LogStore")


def engine_is_gone(error: BaseException) -> bool:
    """Return whether an engine's exception says that it answers no more, so that asking again only takes time."""
    return bool(_UNREACHABLE.search(str(error)))


def is_refused_value(error: Exception) -> bool:
    """Return whether an engine ended a query for a value that an expression cannot take."""
    text = str(error)
    return not (_UNREACHABLE.search(text) or _PASSES.search(text)) and (
        isinstance(error, _REFUSED_VALUE) or _VALUE.search(text) is not None
    )


def refused_value(error: Exception) -> str:
    """Return the engine's words of such an error, without the values, which may be a person's."""
    return f"The engine: {_QUOTED.sub(_HIDDEN, _text(error))}"


def _text(error: Exception) -> str:
    if is_of_the_lake(error):
        return in_one_line(error)
    return str(error).split("\n\nJVM stacktrace")[0].strip()


@contextmanager
def translate_engine_errors(
    job: str, domain: Domain, day: date, unreadable_file: Callable[[], str] = str
) -> Iterator[None]:
    """Turn an engine's exception into a `PlatformError` that names job, domain and date.

    What the same input would meet again is permanent: a plan that the engine refuses (an unknown column, a wrong
    expression), a value that an expression cannot take, a damaged file. Anything else, from a lost connection to a
    full disk, may pass: the partition state machine bounds how often it is tried. Values are left out of the text:
    they may be a person's.

    Args:
        unreadable_file: Finds the file that the engine could not read, and why.

    Raises:
        PermanentError: the engine refused the plan, a value or a file.
        ServiceDownError: the engine is gone, or cannot use the lake's store.
        TransientError: the engine failed otherwise.
    """
    try:
        yield
    except PlatformError:
        raise
    except Exception as error:
        if not isinstance(error, pe.PySparkException) and not is_of_the_lake(error):
            raise
        text = _text(error)
        where = f"Job `{job}`, domain `{domain.name}`, date {day.isoformat()}"
        if of_the_store := _of_the_store(text):
            raise ServiceDownError(f"{where}: {of_the_store}") from error
        if engine_is_gone(error):
            raise ServiceDownError(f"{where}: the engine is gone. The date waits until it is back.") from error
        if not _PASSES.search(text):
            if isinstance(error, _REFUSED_VALUE) or _VALUE.search(text):
                raise PermanentError(
                    f"{where}: an expression of the domain's transform, aggregation or rules met a value that it cannot"
                    f" take: {_QUOTED.sub(_HIDDEN, text)}. Mend the expression (`try_` functions give NULL instead) or"
                    " quarantine such rows by a rule, then reset the date."
                ) from error
            damaged = unreadable_file() if _FILE.search(text) or _PERHAPS_FILE.search(text) else ""
            if damaged or _FILE.search(text):
                which = _QUOTED.sub(_HIDDEN, damaged or text)
                raise PermanentError(
                    f"{where}: the engine could not read a file, {which}. Restore it from the store's versions, then"
                    " reset the date."
                ) from error
            if isinstance(error, _REFUSED_PLAN) or "No field named" in text:  # Sail, of a plan that it optimized
                raise PermanentError(
                    f"{where}: the engine refused the query: {text}. Correct the domain's transform, aggregation or"
                    " rules, then reset the date."
                ) from error
        raise TransientError(
            f"{where}: the engine failed: {text}. It is tried again; if it stays, look at the Spark server's log."
        ) from error


def _of_the_store(text: str) -> str:
    """Return what a person must know when the engine cannot use the lake's store; nothing when it is not that.

    No date is at fault, so none may end for it: they wait.
    """
    cause = f"({_QUOTED.sub(_HIDDEN, text.splitlines()[0])[:300]})" if text else ""
    if _NO_CONNECTOR.search(text):
        return (
            f"the engine lacks a jar for the lake's store {cause}. Give its server the jars that"
            " `python -m infra.embedded.toolchain --store s3` prints, and start it again. The date waits until then."
        )
    if not _OF_A_STORE.search(text):
        return ""
    if _STORE_REFUSES.search(text):
        return (
            f"the lake's store refuses the engine {cause}. Its server has another bucket, endpoint, region or key than"
            " this process: correct its properties spark.hadoop.fs..., and start it again. The date waits until then."
        )
    if _STORE_IS_AWAY.search(text):
        return f"the engine cannot reach the lake's store {cause}. The date waits until it can."
    return ""
