"""What every fault of the lake's later stages is tried on: two domains' Bronze, real runs of them, and a comparison.

A run is the platform's own (`Processor`, `Claims`), and it is repeated as discovery decides (`plan`), without
Dagster. The faults themselves belong to `test_lake_faults`; what a date goes through is in docs/architecture.md.
"""

from __future__ import annotations

import gzip
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit.report import Stage
from audit.run import audit
from platform_assets.resources.warehouse import Warehouse
from platform_core.domain.catalog import Catalog, Domain, load_catalog
from platform_core.errors import PlatformError
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import State
from platform_core.partitions.plan import plan
from platform_core.settings import REPOSITORY, settings
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges
from processing.claim import Claims
from processing.context import RunContext
from processing.one_date import Failed, Processor, Step
from spark_jobs.engine import session
from tests.rigs.faults.faulty_s3 import ANSWERS, Fault, _Handler
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY, Log, Record, event, order
from warehouse.load import GoldPartition, load_date

ATTEMPTS = 12
"""Far above what a fault of seconds needs, and the reason why none of these dates runs out of retries."""
AUDITED = {Stage.SILVER, Stage.GOLD, Stage.WAREHOUSE}
DOMAINS = ("orders", "events")


def catalog() -> Catalog:
    """The two domains, with retries enough for a store of which every third write fails."""
    found = load_catalog(REPOSITORY / "domains" / "domains.yaml")
    return Catalog([found[name].model_copy(update={"max_retries": ATTEMPTS}) for name in DOMAINS])


def first_orders() -> list[Record]:
    """130 orders in two versions each, copies of some, a bad record, and a city that `late_orders` empties."""
    log = Log()
    for number in range(1, 131):
        city = "Gone" if number == 130 else ("Oslo", "Zürich 🏔", "Rome")[number % 3]
        subtotal = f"{500 + 37 * number}.{number % 100:02d}"
        log.add(order(number, "placed", subtotal, updated=1, city=city))
        last = log.add(order(number, "confirmed", subtotal, updated=3, city=city, discount="0.33"))
        if number % 4 == 0:
            log.again(last)
    log.add(order(900, "teleported", "1.00"))
    return log.records


def late_orders() -> list[Record]:
    """Newer versions of every fifth order, an older one that must not win, and the last order of a city moved."""
    made = [order(number, "picked_up", "77.70", updated=5, city="Rome") for number in range(5, 131, 5)]
    return _after([*made, order(1, "placed", "1.00", updated=0.9)])


def first_events() -> list[Record]:
    """280 events, copies of some, and a bad one."""
    log = Log()
    kinds = ("app_open", "restaurant_view", "add_to_cart", "search")
    for number in range(280):
        rest = {"session_id": f"s{number % 35}", "user_id": number % 35, "city": ("Oslo", "Rome")[number % 35 % 2]}
        made = log.add(event(f"e{number}", kinds[number // 35 % 4], 1 + number % 20, **rest))
        if number % 12 == 0:
            log.again(made)
    log.add(event("bad", "page_view", 6))
    return log.records


def late_events() -> list[Record]:
    """Events of new sessions, and one that has come before under another offset."""
    made = [event(f"late{number}", "app_open", 22, session_id=f"late{number}") for number in range(20)]
    return _after([*made, event("e0", "app_open", 1, session_id="s0", user_id=0, city="Oslo")])


FIRST: dict[str, Callable[[], list[Record]]] = {"orders": first_orders, "events": first_events}
LATE: dict[str, Callable[[], list[Record]]] = {"orders": late_orders, "events": late_events}


def _offsets(rows: pa.Table) -> dict[int, OffsetRanges]:
    by_partition = rows.group_by("_partition").aggregate([("_offset", "list")]).to_pylist()
    return {row["_partition"]: OffsetRanges.from_offsets(row["_offset_list"]) for row in by_partition}


def _after(rows: Sequence[dict[str, Any]]) -> list[Record]:
    return [Record(values, 0, 5000 + number) for number, values in enumerate(rows)]


class LakeRig:
    """A lake, an engine and a warehouse that may all fail, and the platform's runs over them.

    Args:
        engine: Its URL; its environment has the login of a lake in a bucket.
        bronze: Where Bronze is made before it is put into the lake.
    """

    def __init__(self, engine: str, bronze: Path) -> None:
        self.lake = Lake(settings())
        self._engine = engine
        self.catalog = catalog()
        self.partitions = DeltaPartitionMeta(self.lake)
        self.failures: list[Exception] = []
        self._bronze = Lake(settings().model_copy(update={"lake_uri": str(bronze)}))

    def put(self, name: str, records: Sequence[Record]) -> None:
        """Add files to a date's Bronze, with footers; as with the sink, no file has an offset twice."""
        seed = len(self.lake.list_date(self.catalog[name], DAY)) + 1  # names of its own for each call
        domain = self.catalog[name]
        once = {(record.partition, record.offset): record for record in reversed(records)}
        again = [record for record in records if once[record.partition, record.offset] is not record]
        made = bronze_days.write(self._bronze, domain, DAY, list(once.values()), files=3, seed=seed)
        made += bronze_days.write(self._bronze, domain, DAY, again, files=min(len(again), 1), seed=seed + 3)
        for file in made:
            path = self.lake.path(file)
            if self.lake.is_local:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            rows = pq.read_table(self._bronze.path(file), partitioning=None)
            footer = BronzeFooter(name, domain.topic.name, _offsets(rows)).named(file)
            pq.write_table(rows.replace_schema_metadata(footer.to_metadata()), path, filesystem=self.lake.filesystem)

    def tick(self, domain: Domain) -> bool:
        """Store what discovery decides and return whether the date must run; a store that fails is asked again."""
        rows = self.partitions.rows(domain.name)
        now = datetime.now(UTC) + timedelta(seconds=1)
        decided = plan(
            domain, {DAY: self.lake.list_date(domain, DAY)}, rows, now, settings(), lambda _: False, frozenset()
        )
        self.partitions.apply(decided.changes)
        return bool(decided.queue)

    def attempt(self, domain: Domain, on_step: Callable[[Step], object] = lambda _: None) -> None:
        """Process the date once in a run and a session of its own, as the orchestrator's step does."""
        run_id = str(uuid.uuid4())
        spark = session.connect(self._engine, run_id)
        try:
            run = RunContext(settings(), self.lake, domain, self.partitions, run_id, discovered=True)
            claims = Claims(run, lambda _: False, lambda _: None)
            processor = Processor(run, claims, spark, Warehouse().connect)
            for step in processor.process(DAY):
                if isinstance(step, Failed):
                    self.failures.append(step.error)
                on_step(step)
        finally:
            spark.stop()

    def settle(
        self,
        name: str,
        before: Callable[[int], object] = lambda _: None,
        on_step: Callable[[Step], object] = lambda _: None,
    ) -> int:
        """Tick and run until the date is DONE with the Bronze of now; return the attempts.

        Args:
            name: The domain.
            before: Called with the number of the attempt that comes.
            on_step: Called with each step of each attempt.
        """
        domain, attempts = self.catalog[name], 0
        for _ in range(3 * ATTEMPTS):
            try:
                if self.tick(domain):
                    before(attempts)
                    attempts += 1
                    self.attempt(domain, on_step)
                row = self.partitions.get(name, DAY)
            except PlatformError as error:
                self.failures.append(error)
                continue
            assert row is None or row.status is not State.DEAD, f"given up for good: {row and row.error_message}"
            if row is not None and row.status is State.DONE and len(row.source_files) == self._expected(domain):
                return attempts
        raise AssertionError(f"`{name}` is not done after {attempts} attempts: {self.failures[-3:]}")

    def _expected(self, domain: Domain) -> int:
        return len(self.lake.list_date(domain, DAY))

    def run_late(self, name: str, **hooks: Any) -> int:
        """Process the late files of a date that is DONE without them; return the attempts."""
        self.put_late(name)
        return self.settle(name, **hooks)

    def put_late(self, name: str) -> None:
        """Add a date's late files to its Bronze."""
        self.put(name, LATE[name]())

    def load(self, name: str) -> None:
        """Load the date's Gold of now into the warehouse."""
        domain = self.catalog[name]
        with Warehouse().connect("test") as connection:
            load_date(
                connection,
                database=settings().snowflake_database,
                schema=domain.warehouse_schema,
                domain=name,
                day=DAY,
                run_id="first",
                partitions=[
                    GoldPartition(table, keys, self.table(self.lake.gold(domain, table)))
                    for table, keys in domain.gold.tables.items()
                ],
            )

    def silver(self, name: str) -> list[dict[str, Any]]:
        """Silver's rows in the order of their keys, `record_hash` with them."""
        domain = self.catalog[name]
        table = self.table(self.lake.silver(domain))
        return table.sort_by([(key, "ascending") for key in (*domain.silver.primary_key, "_offset")]).to_pylist()

    def gold(self, name: str, table: str) -> list[dict[str, Any]]:
        """A Gold table's rows in the order of their keys."""
        domain = self.catalog[name]
        keys = domain.gold.tables[table]
        return self.table(self.lake.gold(domain, table)).sort_by([(key, "ascending") for key in keys]).to_pylist()

    def table(self, name: str) -> pa.Table:
        """All rows of a Delta table."""
        return self.lake.delta(name).to_pyarrow_table()

    def everything(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """Silver and Gold, by name."""
        return {"silver": self.silver(name)} | {
            table: self.gold(name, table) for table in self.catalog[name].gold.tables
        }

    def assert_clean(self, name: str, undisturbed: dict[str, list[dict[str, Any]]]) -> None:
        """The audit agrees, no key is in Silver twice, and each row is that of an undisturbed run."""
        report = audit(settings(), self.catalog, self.lake, domains=[name], stages=AUDITED)
        assert report.clean, f"audit: {report.problems or report.not_checked}"
        found, domain = self.everything(name), self.catalog[name]
        keys = Counter(tuple(row[key] for key in domain.silver.primary_key) for row in found["silver"])
        twice = [key for key, count in keys.items() if count > 1]
        assert not twice, f"in Silver twice: {twice[:5]}"
        for table, rows in undisturbed.items():
            assert found[table] == rows, f"`{table}` differs from an undisturbed run"
        history = self.partitions.history(name, DAY)
        pairs = pairwise(history)
        assert all(one.to_status == two.from_status for one, two in pairs), (
            f"a transition is lost or doubled: {history}"
        )


class CutLine:
    """An HTTP proxy before the warehouse that disturbs the next request with a given statement, once.

    Attributes:
        target: The warehouse's address.
        hits: Requests that were disturbed.
    """

    answers = ANSWERS

    def __init__(self, port: int) -> None:
        self.target = ("127.0.0.1", port)
        self.hits = 0
        self._statement = b""
        self._fault = Fault.RESET
        self._and_then: Callable[[], object] = lambda: None
        self._request = threading.local()
        line = self

        class Handler(_Handler):
            owner = line  # type: ignore[assignment]

            def _body(self) -> bytes:
                body = super()._body()
                line._request.text = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
                return body

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self._server.server_port

    def cut(self, statement: str, fault: Fault, and_then: Callable[[], object] = lambda: None) -> None:
        """Disturb the next request with this text; `and_then` is called before the client knows."""
        self._statement, self._fault, self._and_then = statement.encode(), fault, and_then

    def draw(self, method: str, path: str) -> Fault | None:
        """Return what happens to the request whose body has just been read."""
        if not self._statement or self._statement not in self._request.text:
            return None
        self._statement, self.hits = b"", self.hits + 1
        self._and_then()
        return self._fault

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
