"""Kafka and the registry over TLS: every stage goes through it, and what is wrong is named in a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.embedded.services.schema_registry import SchemaRegistry
from infra.embedded.toolchain.toolchain import Toolchain
from pdp.cli import app
from platform_core.domain.catalog import load_catalog
from platform_core.errors import ConfigurationError
from platform_core.settings import Settings, settings
from platform_kafka.clients import connect_admin
from platform_kafka.errors import KafkaUnreachableError
from platform_kafka.provision import ensure_topics, provision
from platform_kafka.reader import OperatorKafka
from platform_kafka.registry import connect_registry
from platform_kafka.topic_reader import TopicReader
from platform_kafka.topics import TopicSpec
from producers.delivery import Delivery
from tests.rigs.settings_of import settings_of
from tests.rigs.sink.rig import SinkRig
from tests.rigs.tls.certificates import KEY_PASSWORD, Authority
from tests.rigs.tls.registry_gate import PASSWORD, USER, registry_gate
from tests.rigs.tls.tls_kafka import TlsKafka


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no server knows."""
    return Authority(tmp_path_factory.mktemp("tls") / "stranger")


@pytest.fixture(scope="module")
def tls_kafka(
    authority: Authority, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TlsKafka]:
    with TlsKafka(tmp_path_factory.mktemp("tls") / "kafka", authority, toolchain=toolchain) as service:
        yield service


@pytest.fixture(scope="module")
def registry_env(authority: Authority, schema_registry: SchemaRegistry) -> Iterator[dict[str, str]]:
    with registry_gate(schema_registry.env(), *authority.issue("registry")) as url:
        yield {
            "SCHEMA_REGISTRY_URL": url,
            "SCHEMA_REGISTRY_CA_FILE": str(authority.file),
            "SCHEMA_REGISTRY_USERNAME": USER,
            "SCHEMA_REGISTRY_PASSWORD": PASSWORD,
        }


def test_a_record_goes_from_provisioning_to_bronze_over_tls(
    tls_kafka: TlsKafka, registry_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = SinkRig(tls_kafka, tmp_path, registry_env)
    catalog = load_catalog(rig.domains_file)
    assert provision(rig.settings, catalog).topics[rig.topic] == "created"
    delivery = Delivery.connect(rig.settings, catalog["events"])
    delivery.send(json.loads(rig.event(1)))
    assert sum(delivery.deliver().delivered.values()) == 1
    log = rig.run("--until-caught-up")
    assert "contract_checked domain=events" in log
    assert PASSWORD not in log
    assert [row["event_id"] for row in rig.rows()] == ["1"]

    for name, value in rig.env.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    lag = CliRunner().invoke(app, ["lag", "--json"], prog_name="pdp")
    settings.cache_clear()
    assert lag.exit_code == 0, lag.output


def test_a_setting_that_the_service_refuses_is_named(tls_kafka: TlsKafka) -> None:
    admin = connect_admin(settings_of(tls_kafka.env()))
    refused = TopicSpec("raw-refused", 1, {"cleanup.policy": "shred"})
    sentence = (
        r"Kafka refuses topic `raw-refused`: .* by its own means to 1 partition and cleanup.policy=shred, min.insync"
    )
    with pytest.raises(ConfigurationError, match=sentence):
        ensure_topics(admin, [refused], 1)
    ensure_topics(admin, [replace(refused, config={})], 1)
    with pytest.raises(ConfigurationError, match=sentence):
        ensure_topics(admin, [refused], 1)
    with pytest.raises(ConfigurationError, match="Check `KAFKA_REPLICATION_FACTOR`"):
        ensure_topics(admin, [TopicSpec("raw-too-many", 1, {})], 3)


def test_a_client_is_known_by_its_certificate(tls_kafka: TlsKafka, authority: Authority, stranger: Authority) -> None:
    listener = {
        "KAFKA_BOOTSTRAP_SERVERS": tls_kafka.address("mutual"),
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_FILE": str(authority.file),
    }

    def client(owner: Authority) -> Settings:
        certificate, key = owner.issue("app", password=KEY_PASSWORD)
        files = {"KAFKA_SSL_CERTIFICATE_FILE": certificate, "KAFKA_SSL_KEY_FILE": key}
        return settings_of({**listener, **files, "KAFKA_SSL_KEY_PASSWORD": KEY_PASSWORD})

    with OperatorKafka(client(authority)) as kafka:
        assert kafka.topics is not None  # it has an answer
    with pytest.raises(
        ConfigurationError, match=r"does not accept a client without a certificate. Set `KAFKA_SSL_CERT"
    ):
        OperatorKafka(settings_of(listener))
    with pytest.raises(ConfigurationError, match=r"does not accept the certificate in .*app.pem`. Set `KAFKA_SSL_CERT"):
        OperatorKafka(client(stranger))


@pytest.mark.parametrize(
    ("listener", "host", "sentence"),
    [
        ("tls", "127.0.0.1", "is signed by none of the authorities.* Set `KAFKA_SSL_CA_FILE` to the PEM file"),
        ("expired", "127.0.0.1", "has expired. Have it renewed on the server"),
        ("tls", "localhost", "is for another name. Write the server in `KAFKA_BOOTSTRAP_SERVERS` as its"),
    ],
    ids=["authority", "expired", "name"],
)
def test_what_is_wrong_with_a_brokers_certificate_is_said(
    tls_kafka: TlsKafka, stranger: Authority, listener: str, host: str, sentence: str
) -> None:
    server = tls_kafka.address(listener).replace("127.0.0.1", host)
    env = {**tls_kafka.env(), "KAFKA_BOOTSTRAP_SERVERS": server}
    if "signed" in sentence:
        env["KAFKA_SSL_CA_FILE"] = str(stranger.file)
    with pytest.raises(ConfigurationError, match=f"`{server}` {sentence}"):
        OperatorKafka(settings_of(env))


def test_a_certificate_that_expires_later_is_named_by_whoever_gets_no_answer(tls_kafka: TlsKafka) -> None:
    env = {**tls_kafka.env(), "KAFKA_BOOTSTRAP_SERVERS": tls_kafka.address("expired")}
    reader = TopicReader(settings_of(env), "test", answer_seconds=1)
    with pytest.raises(KafkaUnreachableError, match=r"gave no answer on the bounds of topics: .* has expired"):
        reader.bounds(["raw-events"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"SCHEMA_REGISTRY_PASSWORD": "another"}, "refuses the login .HTTP 401.. Set `SCHEMA_REGISTRY_USERNAME`"),
        ({"SCHEMA_REGISTRY_CA_FILE": ""}, "signed by none of the authorities.* Set `SCHEMA_REGISTRY_CA_FILE`"),
    ],
    ids=["password", "authority"],
)
def test_what_is_wrong_with_the_registrys_login_is_said(
    registry_env: dict[str, str], stranger: Authority, change: dict[str, str], sentence: str
) -> None:
    changed = {name: value or str(stranger.file) for name, value in change.items()}
    with pytest.raises(ConfigurationError, match=sentence) as refusal:
        connect_registry(settings_of({**registry_env, **changed}), wait_seconds=30)
    assert "another" not in refusal.value.message
