"""What the real engines raise for a damaged page and when they are gone, and what the platform makes of it."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr
from pyspark.sql.connect.client.retries import DefaultPolicy

from infra.embedded.services.spark.connect import SparkConnect
from platform_core.domain.catalog import Catalog
from platform_core.errors import PermanentError, ServiceDownError
from spark_jobs import bronze_to_silver
from spark_jobs.engine import session
from spark_jobs.engine.failures import translate_engine_errors
from spark_jobs.writing import tables
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY
from tests.spark.conftest import CONNECT_TOKEN, ENGINES, Engine


def test_a_damaged_page_is_permanent_and_names_the_file(empty_engine: Engine, catalog: Catalog) -> None:
    engine, users = empty_engine, catalog["users"]
    files = bronze_days.write(engine.lake, users, DAY, bronze_days.users())
    path = Path(engine.lake.path(files[1]))
    group = pq.read_metadata(path).row_group(0)
    data = bytearray(path.read_bytes())
    for chunk in map(group.column, range(group.num_columns)):
        if chunk.path_in_schema == "user_id":
            data[chunk.data_page_offset : chunk.data_page_offset + 12] = b"\xff" * 12
    path.write_bytes(data)
    with pytest.raises(PermanentError, match="`users`, date 2026-11-20: the engine could not read a file") as caught:
        bronze_to_silver.run(engine.spark, engine.lake, users, DAY, files)
    assert path.name in caught.value.message
    assert not tables.exists(engine.lake, engine.lake.silver(users))


@contextlib.contextmanager
def cable(remote: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield another address of an endpoint, and what cuts it."""
    target = urlsplit(remote)
    server = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                ends.append(client)
                engine = socket.create_connection((target.hostname or "", target.port or 0))
                ends.append(engine)
                for pair in ((client, engine), (engine, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()

    def cut() -> None:
        # Not another way about: a client whose connection is cut connects again at once, and such a connection
        # lived on where the server was still listening.
        _cut(server)
        accepting.join()
        for end in ends:
            _cut(end)

    try:
        yield f"sc://127.0.0.1:{server.getsockname()[1]}", cut
    finally:
        cut()


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other end was first
        end.shutdown(socket.SHUT_RDWR)  # ends an `accept`, too
    end.close()


@pytest.mark.parametrize("token", [None, SecretStr("another")])
def test_a_client_without_the_servers_token_opens_no_session(
    servers: dict[str, SparkConnect], engines: dict[str, Engine], token: SecretStr | None
) -> None:
    with pytest.raises(ServiceDownError, match="Dates wait until `SPARK_CONNECT_TOKEN` is the server's") as refusal:
        session.connect(engines["spark"].remote, token=token)
    assert "another" not in refusal.value.message
    server = servers["spark"]
    secret = CONNECT_TOKEN.get_secret_value()
    assert server.env()["SPARK_CONNECT_TOKEN"] == secret
    for seen in (Path(f"/proc/{server.pid}/cmdline"), server.log):
        assert secret not in seen.read_bytes().decode(errors="replace")


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_is_gone_is_an_outage(engines: dict[str, Engine], catalog: Catalog, name: str) -> None:
    with cable(engines[name].remote) as (remote, cut):
        spark = session.connect(remote, token=CONNECT_TOKEN)
        spark.client.set_retry_policies([DefaultPolicy(max_retries=1)])  # in a run it tries for minutes
        assert spark.range(3).count() == 3
        cut()
        with (
            pytest.raises(ServiceDownError, match="the engine is gone"),
            translate_engine_errors("bronze_to_silver", catalog["users"], DAY),
        ):
            spark.range(3).count()


@pytest.mark.parametrize("name", ENGINES)
def test_a_session_that_its_run_has_closed_is_ended_already(engines: dict[str, Engine], name: str) -> None:
    remote, run = engines[name].remote, str(uuid.uuid4())
    session.close(session.connect(remote, run, token=CONNECT_TOKEN))
    session.end(remote, run, token=CONNECT_TOKEN)
    session.end(remote, str(uuid.uuid4()), token=CONNECT_TOKEN)
