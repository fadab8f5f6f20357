"""A server that is not there, says nothing, answers nothing or refuses: one sentence, after a bounded wait."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.abc import MetaPathFinder
from typing import Any

import grpc
import pytest
from pydantic import SecretStr
from pyspark.errors import PySparkException
from pyspark.sql.connect import functions
from pyspark.sql.connect.proto import base_pb2

from platform_core.errors import PermanentError, ServiceDownError
from spark_jobs.engine import connect_channel, own_session, session


@pytest.fixture
def mute() -> Iterator[int]:
    """A port whose connections are accepted by the kernel, and by nobody else."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


class _Config(grpc.GenericRpcHandler):
    """A Connect server that does with each request what the test says."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()
        self.refuses = False
        self.lost = False
        self.copies = False
        self.copy_fails_with = ""
        self.start = "the first start"
        self.properties: dict[str, dict[str, str]] = {}
        self.token = ""
        self.shown: set[str] = set()

    def service(self, details: Any) -> Any:
        self.asked.append(details.method.rpartition("/")[2])
        self.shown |= {value for name, value in details.invocation_metadata if name == "authorization"}
        if self.token and self.shown != {f"Bearer {self.token}"}:
            return grpc.unary_unary_rpc_method_handler(self._refuse)
        if details.method.endswith("/CloneSession") and not self.copies:
            return None  # as Sail: there is no such method
        if self.lost:
            return grpc.unary_unary_rpc_method_handler(self._gone)
        if details.method.endswith("/CloneSession"):
            return grpc.unary_unary_rpc_method_handler(
                self._copy,
                request_deserializer=base_pb2.CloneSessionRequest.FromString,
                response_serializer=base_pb2.CloneSessionResponse.SerializeToString,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._answer,
            request_deserializer=base_pb2.ConfigRequest.FromString,
            response_serializer=base_pb2.ConfigResponse.SerializeToString,
        )

    def _answer(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.refuses:
            context.abort(grpc.StatusCode.INTERNAL, "Cannot call methods on a stopped SparkContext.\nat Some.java")
        self.released.wait(60)
        for pair in request.operation.set.pairs:
            self.properties.setdefault(request.session_id, {})[pair.key] = pair.value
        return base_pb2.ConfigResponse(session_id=request.session_id, server_side_session_id=self.start)

    def _copy(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.copy_fails_with:
            context.abort(grpc.StatusCode.INTERNAL, self.copy_fails_with)
        self.properties[request.new_session_id] = dict(self.properties[request.session_id])
        return base_pb2.CloneSessionResponse(session_id=request.session_id, new_session_id=request.new_session_id)

    def _refuse(self, _request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid authentication token")

    def _gone(self, _request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


@pytest.fixture
def server() -> Iterator[tuple[_Config, str]]:
    handler = _Config()
    running = grpc.server(ThreadPoolExecutor(4), handlers=[handler])
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    yield handler, f"sc://127.0.0.1:{port}"
    handler.released.set()
    running.stop(None).wait()


def test_a_port_that_accepts_and_says_nothing(mute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_channel, "READY_SECONDS", 0.5)
    with pytest.raises(ServiceDownError, match=rf"127.0.0.1:{mute} .SPARK_REMOTE. said nothing within"):
        session.connect(f"sc://127.0.0.1:{mute}")


def test_a_server_that_does_not_answer_is_not_asked_twice(
    server: tuple[_Config, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, remote = server
    monkeypatch.setattr(connect_channel, "ANSWER_SECONDS", 0.5)
    with pytest.raises(ServiceDownError, match=r"opens no session: .*Deadline Exceeded"):
        session.connect(remote)
    assert handler.asked.count("Config") == 1


def test_a_server_without_its_application_says_so(server: tuple[_Config, str]) -> None:
    handler, remote = server
    handler.refuses = True
    with pytest.raises(ServiceDownError, match="stopped SparkContext") as caught:
        session.connect(remote)
    assert "\n" not in caught.value.message


def test_the_token_goes_with_each_request_and_never_pysparks_own(
    server: tuple[_Config, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, remote = server
    handler.released.set()
    handler.token = "right"
    monkeypatch.setenv("SPARK_CONNECT_AUTHENTICATE_TOKEN", "pysparks")  # which would ask for TLS
    with pytest.raises(ServiceDownError, match="refuses this process's token, or asks for one"):
        session.connect(remote)
    spark = session.connect(remote, token=SecretStr("right"))
    session.close(spark)
    assert handler.shown == {"Bearer right"}
    assert handler.asked[-1] == "ReleaseSession"


@pytest.mark.parametrize("copies", [True, False])
def test_a_session_has_its_properties_whether_or_not_the_engine_makes_copies(
    server: tuple[_Config, str], copies: bool
) -> None:
    handler, remote = server
    handler.released.set()
    handler.copies = copies
    session_id = "00000000-0000-0000-0000-000000000001"
    spark = session.connect(remote, session_id)
    assert spark.client._session_id == session_id
    assert handler.properties[session_id]["spark.sql.session.timeZone"] == "UTC"
    isolated = handler.properties[session_id].get("spark.sql.artifact.isolation.alwaysApplyClassloader")
    assert isolated == ("false" if copies else None)
    assert handler.asked.count("ReleaseSession") == 1  # the original
    session.close(spark)


@pytest.mark.parametrize("copies", [True, False])
def test_a_server_that_is_started_again_gets_no_query_without_the_properties(
    server: tuple[_Config, str], copies: bool
) -> None:
    handler, remote = server
    handler.released.set()
    handler.copies = copies
    spark = session.connect(remote)
    handler.start = "the second start"
    with pytest.raises(PySparkException, match="incorrect server side session"):
        spark.conf.get("spark.sql.session.timeZone", None)
    session.close(spark)


def test_a_copy_that_fails_is_said_in_the_servers_words_and_its_original_ends(server: tuple[_Config, str]) -> None:
    handler, remote = server
    handler.released.set()
    handler.copies, handler.copy_fails_with = True, "The folder of artifacts is full\n\nJVM stacktrace:\nat Some.java"
    with pytest.raises(ServiceDownError, match=r"opens no session: The folder of artifacts is full\. Dates wait"):
        session.connect(remote)
    assert handler.asked[-1] == "ReleaseSession"


def test_a_session_sends_no_files_that_all_would_have(server: tuple[_Config, str]) -> None:
    handler, remote = server
    handler.released.set()
    spark = session.connect(remote)
    with pytest.raises(PermanentError, match="sends files to the engine"):
        spark.addArtifact(__file__, pyfile=True)
    for sql in (
        "ADD JAR '/tmp/of-all.jar'",
        "-- of all\n/* and\n of each */ add   files a.py b.py",
        "CREATE OR REPLACE TEMPORARY FUNCTION f AS 'a.B' USING JAR '/tmp/of-all.jar'",
        "BEGIN SELECT 1; ADD ARCHIVE 'a.zip'; END",
        "execute immediate 'ADD FILE a.py'",
        "BEGIN SELECT '-- /*'; ADD JAR 'a.jar'; SELECT '*/'; END",
        "CREATE FUNCTION f AS '--' USING JAR 'a.jar'",
        "`each`: BEGIN EXECUTE IMMEDIATE 'ADD JAR a.jar'; END",
    ):
        with pytest.raises(PermanentError, match="sends files to the engine"):
            spark.sql(sql)
    assert {"AddArtifacts", "ExecutePlan"}.isdisjoint(handler.asked)
    session.close(spark)


def test_a_session_makes_no_view_that_all_would_have(server: tuple[_Config, str]) -> None:
    handler, remote = server
    handler.released.set()
    spark = session.connect(remote)
    with pytest.raises(PermanentError, match="another date's too"):
        spark.range(1).createOrReplaceGlobalTempView("v")
    with pytest.raises(PermanentError, match="CREATE GLOBAL TEMPORARY VIEW"):
        spark.sql("CREATE GLOBAL TEMPORARY VIEW v AS SELECT * FROM {some}", some=spark.range(1))
    assert "ExecutePlan" not in handler.asked
    session.close(spark)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'ADD JAR a.jar' AS add, 'BEGIN' AS begin",
        "ALTER TABLE t ADD COLUMNS (file string)",
        "CREATE TEMPORARY FUNCTION f() RETURNS int RETURN 1",
        "CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 'GLOBAL TEMP VIEW'",
        "CREATE TEMPORARY VIEW v AS SELECT 'a function using files' AS `function using jar`",
        'CREATE TEMPORARY FUNCTION f() RETURNS int COMMENT "made using files" RETURN 1',
        "BEGIN SELECT 'it\\'s to add files' AS hint; END",
        "EXECUTE IMMEDIATE 'SELECT 1'",
    ],
)
def test_what_stays_in_a_session_may_be_said_in_it(sql: str) -> None:
    own_session.refuse_statement(sql)


def test_a_query_may_take_its_time_and_a_lost_engine_may_not(server: tuple[_Config, str]) -> None:
    handler, remote = server
    handler.released.set()
    spark = session.connect(remote)
    [policy] = spark.client.get_retry_policies()
    state, waits = policy.to_state(), 0.0
    while (wait := state.next_attempt()) is not None:
        waits += wait / 1000
    assert 30 < waits < 70
    session.close(spark)
    assert handler.asked[-1] == "ReleaseSession"


def test_no_call_of_a_session_searches_for_a_notebook(
    server: tuple[_Config, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, remote = server
    handler.released.set()
    searched = []

    class Finder(MetaPathFinder):
        def find_spec(self, name: str, *_: Any) -> None:
            searched.append(name)

    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr("pyspark.errors.utils._enable_debugging_cache", True)
    spark = session.connect(remote)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    _ = functions.col("a") + 1
    session.close(spark)
    assert "IPython" not in searched


def test_closing_a_session_does_not_wait_for_a_lost_engine(server: tuple[_Config, str]) -> None:
    handler, remote = server
    handler.released.set()
    spark = session.connect(remote)
    handler.lost = True
    session.close(spark)
    assert handler.asked.count("ReleaseSession") == 1 + 3  # the original's, and not nine, over 45 seconds


def test_the_session_of_a_dead_run_is_not_waited_for(mute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_channel, "READY_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(ServiceDownError):
        session.end(f"sc://127.0.0.1:{mute}", "00000000-0000-0000-0000-000000000001")
    assert time.monotonic() - started < 30  # it was ten minutes
