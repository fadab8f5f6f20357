"""Every environment variable that the platform reads, typed, in one place.

Add a variable here and to `.env.example`, nowhere else; code receives a `Settings` object and never looks at
`os.environ`. An illegal value stops the process at start with the variable's name and what is legal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, FilePath, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from platform_core.errors import ConfigurationError
from platform_core.plaintext import refused_plaintext

REPOSITORY = Path(__file__).resolve().parent.parent
"""The folder that the packages are in: of a checkout, or of an installation."""

IS_CHECKOUT = (REPOSITORY / "pyproject.toml").is_file()
"""An installation, in an image say, has no folder of its own for data: what needs one must be told where."""


SPARK_CONNECT_PORT = 15002
"""The port of Spark Connect where nobody names another."""


class Settings(BaseSettings):
    """The process's settings; field names are the environment variables in lower case."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_file=None, env_ignore_empty=True, hide_input_in_errors=True
    )

    domains_file: Path = Field(REPOSITORY / "domains" / "domains.yaml", description="The list of domains")
    state_dir: Path = Field(
        REPOSITORY / ".platform" / "state" if IS_CHECKOUT else Path(),
        description="Folder of producer watermarks; must survive restarts",
    )
    state_in_lake: bool = Field(
        False, description="Keep that state in the lake instead of STATE_DIR: for producers without a disk of their own"
    )

    lake_uri: str = Field(
        str(REPOSITORY / ".platform" / "lake") if IS_CHECKOUT else "",
        description="Root of the lake: an absolute folder, or an object store URI such as s3:// or gs://lake",
    )
    s3_endpoint_url: str | None = Field(None, description="Endpoint of an S3-compatible store; empty for AWS")
    s3_access_key: SecretStr | None = Field(
        None, description="Access key of the object store; the ambient credentials (a role) when empty"
    )
    s3_secret_key: SecretStr | None = Field(None, description="Secret key of the object store")
    s3_session_token: SecretStr | None = Field(None, description="Session token of temporary keys")
    s3_region: str = Field("us-east-1", description="Region of the object store")
    s3_path_style: bool | None = Field(
        None, description="Name the bucket in the path and not in the host; true where S3_ENDPOINT_URL is set"
    )
    s3_connect_timeout_seconds: float = Field(5.0, gt=0, description="How long a connection to the store may take")
    s3_request_timeout_seconds: float = Field(30.0, gt=0, description="How long the store may take for an answer")
    s3_max_attempts: int = Field(4, ge=1, le=20, description="Attempts of one request to the store, the first included")
    aws_ec2_metadata_disabled: bool = Field(
        False, description="Never ask the metadata address of a machine for the credentials of its role"
    )
    gcs_endpoint_url: str | None = Field(
        None, description="Endpoint of an emulator of Google Cloud Storage, which gets no login; empty for Google"
    )
    google_application_credentials: Path | None = Field(
        None, description="Key file of a service account for gs://; ambient credentials (Workload Identity) when empty"
    )
    gcs_retry_seconds: float = Field(
        10.0, gt=0, description="How long a request to Google Cloud Storage is tried again, less its last attempt"
    )

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, comma separated")
    kafka_security_protocol: Literal["SASL_PLAINTEXT", "SASL_SSL", "PLAINTEXT", "SSL"] = Field(
        "SASL_PLAINTEXT", description="Transport of the Kafka clients"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="SASL mechanism of the Kafka clients"
    )
    kafka_username: str = Field("app", description="As whom this process asks Kafka")
    kafka_password: SecretStr = Field(SecretStr(""), description="Password of KAFKA_USERNAME")
    kafka_admin_username: str = Field("admin", description="User that creates topics")
    kafka_admin_password: SecretStr = Field(SecretStr(""), description="Password of KAFKA_ADMIN_USERNAME")
    kafka_replication_factor: int = Field(1, ge=1, le=9, description="Replicas of each topic")
    kafka_ssl_ca_file: FilePath | None = Field(
        None, description="PEM file of the authorities that sign the brokers' certificates; the system's when empty"
    )
    kafka_ssl_certificate_file: FilePath | None = Field(
        None, description="PEM file of this client's certificate, where the brokers ask for one"
    )
    kafka_ssl_key_file: FilePath | None = Field(None, description="PEM file of the key of that certificate")
    kafka_ssl_key_password: SecretStr | None = Field(None, description="Password of that key, if it is encrypted")
    schema_registry_url: str = Field(
        "http://127.0.0.1:8081", description="Base URL of a registry with Confluent's REST API"
    )
    schema_registry_ca_file: FilePath | None = Field(
        None, description="PEM file of the authorities that sign the registry's certificate; the public ones when empty"
    )
    schema_registry_username: str | None = Field(None, description="User of the registry, of managed ones the API key")
    schema_registry_password: SecretStr | None = Field(None, description="Password of SCHEMA_REGISTRY_USERNAME")

    postgres_dsn: SecretStr = Field(
        SecretStr("postgresql://shop@127.0.0.1:5432/shop"),
        description="The shop's database, postgresql://user:password@host:port/name",
    )

    sink_flush_buffer_size: int = Field(1000, ge=1, description="Records in one buffer that force a flush")
    sink_flush_interval_seconds: float = Field(60.0, gt=0, description="Age of a buffer that forces a flush")
    sink_max_buffered_bytes: int = Field(
        268_435_456, ge=1024, description="Memory of all buffered records that forces a flush, in bytes"
    )
    sink_max_record_bytes: int = Field(
        1_048_576, ge=1024, description="A value larger than this goes to the DLQ, in bytes"
    )
    sink_max_refused_ratio: float = Field(
        0.5, gt=0, le=1, description="Share of a topic's last 1,000 records whose refusal pauses it; 1 is never"
    )
    sink_max_future_hours: float = Field(
        24.0, ge=0, description="A record dated later than now plus this goes to the DLQ, in hours"
    )

    sink_endpoint_url: str | None = Field(
        None, description="The sink's HTTP endpoint, for `pdp sink`; the sink of this machine when empty"
    )
    sink_flush_token: SecretStr | None = Field(
        None,
        description="What `pdp sink flush` shows the sink; without it the sink takes a flush of its own machine only",
    )

    metrics_host: str = Field("127.0.0.1", description="Address of a process's metrics and health endpoint")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of that endpoint, 0 for any free one; no endpoint when empty"
    )

    cdc_poll_interval_seconds: float = Field(30.0, gt=0, description="Pause between two polls of a table")
    cdc_watermark_alarm_seconds: float = Field(
        300.0, gt=0, description="An open transaction that holds a watermark back for longer raises an alarm"
    )
    clickstream_events_per_second: float = Field(10.0, gt=0, description="Live rate of the clickstream")
    clickstream_virtual_users: int = Field(50, ge=1, description="Concurrent users of the live clickstream")

    spark_remote: str = Field(f"sc://127.0.0.1:{SPARK_CONNECT_PORT}", description="URL of the Spark Connect endpoint")
    spark_connect_token: SecretStr | None = Field(
        None, description="Token that the server behind SPARK_REMOTE asks for; it belongs into no URL"
    )
    spark_engine: Literal["spark", "sail"] = Field(
        "sail", description="Engine that `make demo` and `make up` start behind SPARK_REMOTE; a cluster has Spark"
    )
    spark_workers: int = Field(
        0, ge=0, le=64, description="Workers of the Spark cluster that they start; 0 is Spark without a cluster"
    )
    spark_worker_cores: int = Field(1, ge=1, description="Tasks that the executor of a worker runs at the same time")
    spark_worker_memory: str = Field(
        "1g", pattern=r"^\d+[mgMG]$", description="What the executor of a worker may have resident, as 1g or 1536m"
    )
    spark_shuffle_partition_bytes: int = Field(
        20_971_520, ge=1_048_576, description="Uncompressed Bronze of a date for each of Spark's shuffle partitions"
    )
    spark_event_log_dir: Path | None = Field(
        None,
        description="Folder of the event logs of the Spark that they start, and of its history UI; none if empty",
    )

    snowflake_account: str = Field("embedded", description="Snowflake account identifier")
    snowflake_user: str = Field("pdp", description="Snowflake user")
    snowflake_password: SecretStr | None = Field(None, description="Password; leave empty for a key")
    snowflake_private_key_path: Path | None = Field(None, description="Key-pair login; a PEM file")
    snowflake_role: str | None = Field(None, description="Snowflake role")
    snowflake_warehouse: str = Field("PDP_WH", description="Snowflake virtual warehouse")
    snowflake_database: str = Field("ANALYTICS", description="Database of the Gold schemas")
    snowflake_host: str | None = Field(None, description="Only for the embedded stand-in")
    snowflake_port: int | None = Field(None, ge=1, le=65535, description="Only for the embedded stand-in")
    snowflake_protocol: Literal["http", "https"] = Field("https", description="http only for the stand-in")

    partitions_start_date: date | None = Field(
        None, description="No domain begins before this date: no partition, and a record of earlier goes to the DLQ"
    )
    partition_ready_hour_utc: float = Field(
        6.0, ge=0, le=48, description="Hours after a date's end when it is first processed"
    )
    partition_settle_seconds: float = Field(
        60.0, ge=0, description="A date whose newest Bronze file is younger than this waits"
    )
    partition_quick_settle_seconds: float = Field(
        10.0, ge=0, description="The same for a date that has been DONE for longer than PARTITION_SETTLE_MAX_SECONDS"
    )
    partition_settle_max_seconds: float = Field(
        600.0, ge=0, description="A date that never rests waits for the settle interval no longer than this"
    )
    partition_retry_backoff_seconds: float = Field(
        60.0, ge=0, description="Pause before the first retry of a FAILED date; doubles each time"
    )
    partition_lease_seconds: float = Field(
        90.0, gt=0, description="A date IN_FLIGHT whose run has not renewed its lease for this long is FAILED"
    )
    partition_timeout_seconds: float = Field(
        3600.0, gt=0, description="A date that a run works on for longer is FAILED, and its Spark job ended"
    )
    discovery_interval_seconds: int = Field(15, ge=1, description="Pause between two ticks of a sensor")
    discovery_scan_files: int = Field(
        10_000,
        ge=1,
        description="Bronze files that a tick lists again to find what no ledger record announced; a date counts as"
        " 1,000 at least, what one request to a store lists",
    )
    run_max_dates: int = Field(7, ge=1, description="Dates of one domain that one Dagster run processes")

    dagster_postgres_url: SecretStr | None = Field(
        None, description="Dagster's database, postgresql://user:password@host:port/name; SQLite when empty"
    )
    compute_logs_uri: str | None = Field(
        None, description="Bucket and prefix of what runs print, s3://bucket/prefix; below DAGSTER_HOME when empty"
    )

    maintenance_keep_days: float = Field(
        7.0, ge=1, description="How long replaced versions of tables are kept; one that a correction needs stays longer"
    )
    runs_keep_days: float = Field(
        90.0, ge=1, description="How long Dagster keeps runs whose dates have been processed again since"
    )

    plaintext_hosts: str = Field(
        "",
        description="Hosts for which TLS is not asked, as `db.lan, .corp.lan`, besides private ones and Kubernetes'",
    )

    slack_webhook_url: SecretStr | None = Field(
        None, description="Slack incoming webhook; alerts go there too, besides the topic pipeline-alerts"
    )
    ui_url: str = Field("http://127.0.0.1:3000", description="Base URL of Dagster's UI, for links in alerts")

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Settings:
        """Return the settings of a process with these variables; what they leave out is this process's."""
        return cls(**{name.lower(): value for name, value in variables.items()})  # type: ignore[arg-type]

    @field_validator("postgres_dsn")
    @classmethod
    def _postgres_dsn_is_a_url(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must be a URL, postgresql://user:password@host:port/name")
        return value

    @field_validator("s3_endpoint_url", "gcs_endpoint_url")
    @classmethod
    def _endpoint_url_is_a_server(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value.rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("must be http://host:port or https://host")
        if parts.path or parts.query or parts.fragment:
            raise ValueError("must end after host and port; the bucket belongs in LAKE_URI")
        return f"{parts.scheme}://{parts.netloc}"

    @model_validator(mode="after")
    def _s3_variables_fit(self) -> Settings:
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            missing = "S3_SECRET_KEY" if self.s3_access_key else "S3_ACCESS_KEY"
            raise ValueError(f"`{missing}` is empty, and the other key is set: set both, or neither for a role")
        if self.lake_uri == "s3://" and self.s3_endpoint_url and self.s3_path_style is False:
            raise ValueError("`LAKE_URI` must name a bucket where `S3_PATH_STYLE` is false: it becomes part of a host")
        if self.s3_session_token is not None and self.s3_access_key is None:
            raise ValueError("`S3_SESSION_TOKEN` is set without S3_ACCESS_KEY and S3_SECRET_KEY, which it belongs to")
        return self

    @field_validator("spark_remote")
    @classmethod
    def _spark_remote_has_no_token(cls, value: str) -> str:
        if "token=" in value:  # an error or a log would show it
            raise ValueError("must not have a token; set SPARK_CONNECT_TOKEN")
        return value

    @field_validator("schema_registry_url")
    @classmethod
    def _schema_registry_url_is_a_server(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be http://host:port/path or https://host/path")
        if "@" in parts.netloc:  # an error or a log would show it
            raise ValueError("must not have a login; set SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD")
        return value

    @model_validator(mode="after")
    def _kafka_and_registry_logins_are_whole(self) -> Settings:
        pairs = (
            ("KAFKA_SSL_CERTIFICATE_FILE", "KAFKA_SSL_KEY_FILE"),
            ("SCHEMA_REGISTRY_USERNAME", "SCHEMA_REGISTRY_PASSWORD"),
        )
        for pair in pairs:
            unset = [name for name in pair if getattr(self, name.lower()) is None]
            if len(unset) == 1:
                raise ValueError(f"`{unset[0]}` is empty, and the other half of its pair is set: set both, or neither")
        return self

    @model_validator(mode="after")
    def _no_secret_goes_over_the_net_without_tls(self) -> Settings:
        if refusal := refused_plaintext(self):
            raise ValueError(refusal)
        return self

    @field_validator("dagster_postgres_url")
    @classmethod
    def _dagster_postgres_url_is_a_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("postgresql://"):
            raise ValueError("must be a URL, postgresql://user:password@host:port/name")
        return value

    @field_validator("compute_logs_uri")
    @classmethod
    def _compute_logs_uri_is_a_bucket(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"s3://[^/]+", value):
            raise ValueError("must be s3://bucket or s3://bucket/prefix")
        return value

    @field_validator("lake_uri")
    @classmethod
    def _lake_uri_is_a_root(cls, value: str) -> str:
        if not value and not IS_CHECKOUT:
            return value  # refused by what needs a lake
        if value.startswith(("s3://", "gs://")):
            scheme, _, rest = value.partition("://")
            if rest.startswith("/") or (scheme == "gs" and not rest):
                raise ValueError(f"must name a bucket, as {scheme}://bucket or {scheme}://bucket/prefix")
            return f"{scheme}://{rest.rstrip('/')}"
        path = Path(value.removeprefix("file://"))
        if not path.is_absolute():
            raise ValueError("must be an absolute folder, or start with s3:// or gs://")
        return str(path)


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Read the environment once and return the process's settings.

    Raises:
        ConfigurationError: a variable has an illegal value; the message names it and what is legal.
    """
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        lines = []
        for item in error.errors(include_input=False, include_url=False):
            if not item["loc"]:  # several variables together; the message names them
                lines.append(item["msg"].removeprefix("Value error, "))
                continue
            name = str(item["loc"][0])
            about = Settings.model_fields[name].description if name in Settings.model_fields else ""
            lines.append(f"`{name.upper()}`: {item['msg']} ({about})")
        raise ConfigurationError(
            "Illegal environment variables: " + "; ".join(lines) + ". Set them as `.env.example` shows."
        ) from None
