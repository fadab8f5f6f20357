"""The gRPC channel of a Spark Connect client, with a bound on every wait that is not for a query.

The client of pyspark repeats a request for ten minutes, and waits for an answer for ever. What a session is set to
belongs to `session`.
"""

from __future__ import annotations

import copy
import os
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, cast

import grpc
from pydantic import SecretStr
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.client.retries import DefaultPolicy
from pyspark.sql.connect.session import SparkSession as ConnectSession

from platform_core.errors import ServiceDownError
from spark_jobs.engine.own_session import keep_to_itself

READY_SECONDS = 25.0
"""Until a server that accepts a connection has said its first word."""

ANSWER_SECONDS = 60.0
"""Until a server answers what needs no query; a JVM that makes its first session on a busy machine took 20."""

_MAY_BE_LONG = "/AnalyzePlan"
"""Opens the tables of a query, whose logs may be far away and long."""

_FIRST_TRIES = 2
_LATER_TRIES, _LATER_PAUSE_MILLISECONDS = 8, 10_000
"""45 seconds, in which a driver or a network may come back to a query; a date is tried again anyway."""


_ONE_CLASS_LOADER = {
    "spark.sql.artifact.isolation.enabled": "false",
    "spark.sql.artifact.isolation.alwaysApplyClassloader": "false",
}
"""Of all sessions. One of its own is for files that a client sends along, and ours sends none, see `own_session`."""


class _CallDetails(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


class _Deadline(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        if details.timeout is None and not method.endswith(_MAY_BE_LONG):
            details = _CallDetails(
                details.method,
                ANSWER_SECONDS,
                details.metadata,
                details.credentials,
                details.wait_for_ready,
                details.compression,
            )
        return continuation(details, request)


class BoundedChannel(DefaultChannelBuilder):
    """Builds the channel of one endpoint, `sc://host:port/;name=value`.

    Args:
        remote: The endpoint.
        bearer: What its server asks for. It goes with each request: a channel of pyspark that has a token speaks TLS to
            every host but `localhost`, and the server of Spark has none.
    """

    def __init__(self, remote: str, bearer: SecretStr | None = None) -> None:
        super().__init__(remote)
        self._bearer = bearer

    @property
    def token(self) -> None:
        """Never pyspark's own, which it also takes from the environment."""

    def metadata(self) -> list[tuple[str, str]]:
        """Return what goes with each request."""
        shown = [("authorization", f"Bearer {self._bearer.get_secret_value()}")] if self._bearer else []
        return [*super().metadata(), *shown]

    def toChannel(self) -> grpc.Channel:
        """Return a channel to a server that has answered.

        Raises:
            ServiceDownError: it accepts the connection, or not even that, and says nothing.
        """
        channel = super().toChannel()
        try:
            grpc.channel_ready_future(channel).result(READY_SECONDS)
        except grpc.FutureTimeoutError as error:
            channel.close()
            raise _down(self.endpoint, f"said nothing within {READY_SECONDS:.0f} s") from error
        return grpc.intercept_channel(channel, _Deadline())


def open_session(remote: str, configuration: dict[str, str], token: SecretStr | None = None) -> SparkSession:
    """Open a session with some properties, in a minute or two at most.

    Args:
        remote: The endpoint's URL, with the session's id if it has one.
        configuration: The properties; without any the session is one that the server may have already.
        token: What the server asks for.

    Raises:
        ServiceDownError: the server does not answer, or answers that it cannot work.
    """
    channel = BoundedChannel(remote, token)
    # pyspark looks for it in every call that makes a column, along the whole path: 0.2 ms each, 600 times a date.
    sys.modules.setdefault("IPython", None)  # type: ignore[arg-type]
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"  # as the builder of pyspark does: functions look for it
    # `getOrCreate` would hand a second caller the first one's session, with its temporary views and its fate.
    spark = ConnectSession.builder.channelBuilder(channel).create()
    client = spark.client
    client.set_retry_policies([DefaultPolicy(max_retries=_FIRST_TRIES)])
    try:
        if configuration:
            _make_as_copy(channel, spark.session_id)
        # Asked by the session's own client, which learns of which start of the server it is. Of a copy it does not hear
        # that, and to a server that was started again its next question would make a session without properties.
        for key, value in configuration.items():
            spark.conf.set(key, value)
    except (PySparkException, grpc.RpcError) as error:
        client.close()
        if _status(error) is grpc.StatusCode.UNAUTHENTICATED:
            raise ServiceDownError(
                f"The engine at {channel.endpoint} (SPARK_REMOTE) refuses this process's token, or asks for one. Dates"
                " wait until `SPARK_CONNECT_TOKEN` is the server's."
            ) from None
        said = error.details() if isinstance(error, grpc.Call) else None
        reason = (said or str(error)).split("\n\nJVM stacktrace")[0].strip().splitlines()
        raise _down(channel.endpoint, f"opens no session: {' '.join(reason)[:300]}") from error
    client.set_retry_policies([DefaultPolicy(max_retries=_LATER_TRIES, max_backoff=_LATER_PAUSE_MILLISECONDS)])
    keep_to_itself(client)
    return cast(SparkSession, spark)


def _make_as_copy(channel: BoundedChannel, session_id: str) -> None:
    """Make a session as the copy of one with `_ONE_CLASS_LOADER`, which ends here; nothing if the engine has no copies.

    Spark's Connect server switches a class loader on for each new session, before a client's first property is heard,
    and generated classes are cached by it: every run generated and compiled its 200 anew, 7 of a day's 40 CPU seconds.
    A copy reads the properties of its original when it is made.
    """
    own = copy.deepcopy(channel)
    own.set(BoundedChannel.PARAM_SESSION_ID, str(uuid.uuid4()))
    original = ConnectSession(connection=own)
    original.client.set_retry_policies([DefaultPolicy(max_retries=_FIRST_TRIES)])
    try:
        for key, value in _ONE_CLASS_LOADER.items():
            original.conf.set(key, value)
        original.client.clone(session_id).close()
    except (PySparkException, grpc.RpcError) as error:
        if _status(error) is not grpc.StatusCode.UNIMPLEMENTED:  # as Sail's, which compiles nothing
            raise
    finally:
        with suppress(PySparkException, grpc.RpcError):
            original.client.release_session()
        original.client.close()


def _status(error: Exception) -> grpc.StatusCode | None:
    said = getattr(error, "getGrpcStatusCode", None) or getattr(error, "code", None)
    return said() if said else None


def close_session(spark: SparkSession) -> None:
    """Release a session on its server, which is asked for a second and not for the time of a query."""
    cast(ConnectSession, spark).client.set_retry_policies([DefaultPolicy(max_retries=_FIRST_TRIES)])
    spark.stop()


def _down(endpoint: str, what: str) -> ServiceDownError:
    return ServiceDownError(
        f"The engine at {endpoint} (SPARK_REMOTE) {what}. Dates wait until it is back: look at its log, then start it"
        " again."
    )
