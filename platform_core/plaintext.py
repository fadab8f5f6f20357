"""To whom a process may speak without TLS: itself, a container network, and whom its operator names.

Which variables have an address, and whether TLS is asked for, is read here from the settings, which refuse the rest at
their making. What TLS itself needs belongs to the clients.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from pydantic import SecretStr

    from platform_core.settings import Settings

_POSTGRES_TLS = frozenset({"require", "verify-ca", "verify-full"})
"""The values of `sslmode` with which libpq gives up rather than speak without TLS."""


class Plaintext(NamedTuple):
    """A host that a variable names without TLS, and what would bring it."""

    variable: str
    host: str
    remedy: str


def refused_plaintext(settings: Settings) -> str | None:
    """Return a sentence about the first host that may not be spoken to without TLS, or None."""
    allowed = [name.strip().lower() for name in settings.plaintext_hosts.split(",") if name.strip()]
    for variable, host, remedy in _plaintext(settings):
        if not _is_near(host) and not _is_named(host, allowed):
            return (
                f"`{variable}`: host `{host}` would be spoken to without TLS, where others can read and change what is"
                f" sent. {remedy}, or allow the host by name: `PLAINTEXT_HOSTS={','.join([*allowed, host])}`"
            )
    return None


def _is_near(host: str) -> bool:
    """Return whether a host is this machine or in a container network: the name of a service, or a private address."""
    try:
        return ip_address(host.partition("%")[0]).is_private
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".svc", ".svc.cluster.local"))


def _is_named(host: str, allowed: Collection[str]) -> bool:
    return any(host.endswith(name) if name.startswith(".") else host == name for name in allowed)


def _plaintext(settings: Settings) -> Iterator[Plaintext]:
    if settings.kafka_security_protocol.endswith("PLAINTEXT"):
        protocol = settings.kafka_security_protocol.replace("SASL_PLAINTEXT", "SASL_SSL").replace("PLAINTEXT", "SSL")
        for server in settings.kafka_bootstrap_servers.split(","):
            host = server.strip().rpartition(":")[0].strip("[]").lower()
            yield Plaintext("KAFKA_BOOTSTRAP_SERVERS", host, f"Set `KAFKA_SECURITY_PROTOCOL={protocol}`")
    urls: dict[str, str | SecretStr | None] = {
        "SCHEMA_REGISTRY_URL": settings.schema_registry_url,
        "S3_ENDPOINT_URL": settings.s3_endpoint_url,
        "GCS_ENDPOINT_URL": settings.gcs_endpoint_url,
        "SINK_ENDPOINT_URL": settings.sink_endpoint_url,
        "SLACK_WEBHOOK_URL": settings.slack_webhook_url,
    }
    for variable, value in urls.items():
        url = urlsplit(_shown(value))
        if url.scheme == "http":
            yield Plaintext(variable, url.hostname or "", "Write https://")
    if settings.snowflake_protocol == "http" and settings.snowflake_host:
        yield Plaintext("SNOWFLAKE_HOST", settings.snowflake_host.lower(), "Set `SNOWFLAKE_PROTOCOL=https`")
    engine = urlsplit(settings.spark_remote)
    if "use_ssl=true" not in engine.path.lower().split(";"):
        yield Plaintext("SPARK_REMOTE", engine.hostname or "", "Write sc://host:port/;use_ssl=true")
    for variable, dsn in (
        ("POSTGRES_DSN", settings.postgres_dsn),
        ("DAGSTER_POSTGRES_URL", settings.dagster_postgres_url),
    ):
        yield from _of_postgres(variable, _shown(dsn))


def _of_postgres(variable: str, dsn: str) -> Iterator[Plaintext]:
    parts = urlsplit(dsn)
    options = parse_qs(parts.query)
    if options.get("sslmode", [""])[-1] in _POSTGRES_TLS:
        return
    servers = [server for each in options.get("host", []) for server in each.split(",")]
    servers += parts.netloc.rpartition("@")[2].split(",")
    for server in servers:
        if server and not server.startswith(("/", "%2F", "%2f")):  # the folder of a socket
            host = (server.partition("]")[0] if server.startswith("[") else server.partition(":")[0]).strip("[]")
            yield Plaintext(variable, host.lower(), "Add `?sslmode=verify-full` to it")


def _shown(value: str | SecretStr | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return value.get_secret_value()
