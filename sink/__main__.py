"""`python -m sink`: wires the sink to Kafka and the lake, handles signals, and chooses the exit code.

Nothing is decided here about records. Exit codes: 0 stopped as asked and everything read is committed; 1 a
defect; 2 wrong usage; 75 (EX_TEMPFAIL) Kafka or the store is out, what was not committed is read again after
the next start; 78 (EX_CONFIG) settings, credentials or topics must be mended first.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import closing

from platform_core import log_lines
from platform_core.clock import SystemClock
from platform_core.domain.catalog import Catalog, Domain, configured_catalog
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.alerts import AlertKind
from platform_core.lake.lake import Lake
from platform_core.lake.mount import open_lake
from platform_core.lake.store import LakeStore
from platform_core.lake.without_pandas import leave_pandas_out
from platform_core.probe_server import ProbeServer
from platform_core.settings import Settings, settings
from platform_kafka.records import TopicPartition
from platform_kafka.topic_reader import TopicReader
from platform_kafka.topics import PROCESSED_EVENTS, dlq_name
from sink.consuming.kafka import KafkaBroker, KafkaPublisher
from sink.loop import Sink
from sink.refusals.contract_check import check_contracts
from sink.watching.alerts import SinkAlerts
from sink.watching.health import sink_health

log = logging.getLogger("sink")

FLUSH_SECONDS = 30.0
"""How long a flush on request may take: the drain itself ends after 20 s."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sink and return the exit code.

    Args:
        arguments: The command line without the program's name; None is `sys.argv`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sink", description="Write the raw topics to Bronze.", epilog=__doc__
    )
    parser.add_argument("--domains", metavar="A,B", help="consume only these domains; default is all")
    parser.add_argument(
        "--until-caught-up",
        action="store_true",
        help="stop when everything that the topics hold at start is written and committed",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, handlers=[log_lines.handler()])
    leave_pandas_out()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        drained = _run(options, stop)
    except PermanentError as error:
        log.error("sink_cannot_run error=%s", error)
        return os.EX_CONFIG
    except TransientError as error:
        log.error("sink_interrupted error=%s", error)
        return os.EX_TEMPFAIL
    log.info("sink_stopped drained=%s", drained)
    return os.EX_OK if drained else os.EX_TEMPFAIL


def _run(options: argparse.Namespace, stop: threading.Event) -> bool:
    config, clock = settings(), SystemClock()
    catalog = configured_catalog(config)
    names = options.domains.split(",") if options.domains else catalog.names
    domains = [catalog[name.strip()] for name in names]
    lake = Lake(config)
    lake.store.check(writes=False)  # it commits to no table
    broker = KafkaBroker(config)
    raw = [domain.topic.name for domain in domains]
    missing = broker.missing(raw, [*(dlq_name(domain) for domain in domains), PROCESSED_EVENTS])
    partitions = [(domain.topic.name, number) for domain in domains for number in range(domain.topic.partitions)]
    open_lake(lake, lambda: any(broker.committed(partitions).values()))
    publisher = KafkaPublisher(config)
    domains = _readable(config, catalog, domains, SinkAlerts(publisher, clock))
    raw = [domain.topic.name for domain in domains]
    ends = _end_offsets(config, raw) if options.until_caught_up else None
    store = LakeStore(lake, "The sink keeps the records and tries again.")
    folders = [*(lake.bronze(domain) for domain in domains), lake.sink_journal]
    # Beside the loop: a lake of years has many folders.
    threading.Thread(target=store.remove_leftovers, args=(folders,), name="leftovers", daemon=True).start()
    sink = Sink(domains, broker, publisher, store, config, clock)
    for topic, problem in missing.items():
        if topic in raw:
            sink.unusable_topics.note(topic, problem)
        else:  # an alert is due when something is to be written to it
            log.error("topic_missing %s", problem)
    log.info("sink_started domains=%s lake=%s", ",".join(domain.name for domain in domains), lake.root)
    actions = {"flush": lambda: sink.request_flush(FLUSH_SECONDS)}
    with ProbeServer.of(config, sink.metrics.registry, lambda: sink_health(sink, clock.seconds()), actions):
        # Records make no cycles, and what is loaded by now stays: a look for garbage at each 700 new objects, as Python
        # takes it, is 3 % of the CPU of a backlog.
        gc.freeze()
        gc.set_threshold(20_000)
        return sink.run(stop.is_set, ends)


def _readable(config: Settings, catalog: Catalog, domains: list[Domain], alerts: SinkAlerts) -> list[Domain]:
    """Leave out what cannot be read by the domains' own mistakes: its records stay in Kafka and are not committed."""
    unreadable = check_contracts(config, domains)
    for domain in domains:
        if domain.name in unreadable:  # only the sink has asked the registry
            what, command = unreadable[domain.name].message, "python -m producers check-contracts"
            alerts.post(AlertKind.DOMAIN_BROKEN, domain.topic.name, domain.name, what, command)
    for name, error in {**catalog.broken, **{name: each.message for name, each in unreadable.items()}}.items():
        log.error("domain_broken domain=%s error=%s", name, error)
    readable = [domain for domain in domains if domain.name not in unreadable]
    if domains and not readable:
        raise next(iter(unreadable.values()))
    return readable


def _end_offsets(config: Settings, topics: list[str]) -> dict[TopicPartition, int]:
    with closing(TopicReader(config, "s3-sink")) as reader:
        bounds = reader.bounds(topics)
    return {(topic, p): end for topic in bounds for p, (first, end) in bounds[topic].items() if end > first}


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    os._exit(code)  # a PUT that the store does not answer would hold an ordinary exit up in its thread
