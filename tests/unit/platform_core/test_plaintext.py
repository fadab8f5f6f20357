"""What a process may speak to without TLS, variable by variable."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.rigs.settings_of import settings_of

FAR = "kafka.example.com"


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("kafka-1", True),
        ("10.1.2.3", True),
        ("kafka.pdp.svc.cluster.local", True),
        ("172.20.2.9", True),
        ("192.168.1.4", True),
        ("8.8.8.8", False),
        ("172.32.0.1", False),
        ("kafka.localhost.example.com", False),
        (FAR, False),
    ],
)
def test_loopback_and_container_networks_are_near(host: str, near: bool) -> None:
    variables = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:9092,{host}:9092", "POSTGRES_DSN": f"postgresql://u:p@{host}/d"}
    if near:
        settings_of(variables)
        return
    with pytest.raises(ValidationError, match=f"`KAFKA_BOOTSTRAP_SERVERS`: host `{host}` would be spoken to without"):
        settings_of(variables)


@pytest.mark.parametrize(
    ("variables", "with_tls"),
    [
        ({"KAFKA_BOOTSTRAP_SERVERS": f"{FAR}:9092"}, {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}),
        (
            {"KAFKA_BOOTSTRAP_SERVERS": f"{FAR}:9092", "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"},
            {"KAFKA_SECURITY_PROTOCOL": "SSL"},
        ),
        ({"SCHEMA_REGISTRY_URL": f"http://{FAR}:8081/x"}, {"SCHEMA_REGISTRY_URL": f"https://{FAR}:8081/x"}),
        ({"S3_ENDPOINT_URL": f"http://{FAR}:9000"}, {"S3_ENDPOINT_URL": f"https://{FAR}:9000"}),
        ({"GCS_ENDPOINT_URL": f"http://{FAR}:4443"}, {"GCS_ENDPOINT_URL": f"https://{FAR}:4443"}),
        ({"SINK_ENDPOINT_URL": f"http://{FAR}:9100"}, {"SINK_ENDPOINT_URL": f"https://{FAR}:9100"}),
        ({"SLACK_WEBHOOK_URL": f"http://{FAR}/hook"}, {"SLACK_WEBHOOK_URL": f"https://{FAR}/hook"}),
        ({"SNOWFLAKE_HOST": FAR, "SNOWFLAKE_PROTOCOL": "http"}, {"SNOWFLAKE_PROTOCOL": "https"}),
        ({"SPARK_REMOTE": f"sc://{FAR}:15002"}, {"SPARK_REMOTE": f"sc://{FAR}:15002/;use_ssl=true"}),
        (
            {"POSTGRES_DSN": f"postgresql://u:hunter2@{FAR}/d?sslmode=prefer"},
            {"POSTGRES_DSN": f"postgresql://u:hunter2@{FAR}/d?sslmode=verify-full"},
        ),
        (
            {"POSTGRES_DSN": f"postgresql://u:hunter2@127.0.0.1:1,{FAR}:2/d"},
            {"POSTGRES_DSN": f"postgresql://u:hunter2@127.0.0.1:1,{FAR}:2/d?sslmode=require"},
        ),
        (
            {"DAGSTER_POSTGRES_URL": f"postgresql://u:hunter2@/d?host={FAR}"},
            {"DAGSTER_POSTGRES_URL": f"postgresql://u:hunter2@/d?host={FAR}&sslmode=require"},
        ),
    ],
    ids=lambda each: "-".join(each) if "PROTOCOL" not in "".join(each) else None,
)
def test_a_host_further_away_needs_tls_or_its_name_among_the_allowed(
    variables: dict[str, str], with_tls: dict[str, str]
) -> None:
    with pytest.raises(ValidationError, match=rf"`PLAINTEXT_HOSTS={FAR}`") as refusal:
        settings_of(variables)
    assert any(f"`{name}`: host `{FAR}`" in str(refusal.value) for name in variables)
    assert "hunter2" not in str(refusal.value)
    settings_of({**variables, **with_tls})
    settings_of({**variables, "PLAINTEXT_HOSTS": f"db.lan, {FAR}"})
    settings_of({**variables, "PLAINTEXT_HOSTS": ".example.com"})
    with pytest.raises(ValidationError, match=rf"PLAINTEXT_HOSTS=example.com,{FAR}"):
        settings_of({**variables, "PLAINTEXT_HOSTS": "example.com"})


def test_a_socket_of_this_machine_needs_no_tls() -> None:
    settings_of({"POSTGRES_DSN": "postgresql:///shop?host=/var/run/postgresql"})
    settings_of({"POSTGRES_DSN": "postgresql://u@[::1]:5432/shop"})
