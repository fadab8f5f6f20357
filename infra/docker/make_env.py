"""`make env`: writes `.env` for docker-compose.yml with new secrets, once, readable by its owner only.

Which variables there are is said by docker-compose.yml. What `.env` has already stays, a person's own lines too: a
password that services and volumes know must not change behind their back when the command runs again after an update.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

ENV_FILE = Path(__file__).resolve().parents[2] / ".env"

SECRETS = (
    "POSTGRES_PASSWORD",
    "DAGSTER_DB_PASSWORD",
    "SHOP_DB_PASSWORD",
    "READER_DB_PASSWORD",
    "MINIO_ROOT_PASSWORD",
    "MINIO_PIPELINE_PASSWORD",
    "KAFKA_BROKER_PASSWORD",
    "KAFKA_CONTROLLER_PASSWORD",
    "KAFKA_ADMIN_PASSWORD",
    "KAFKA_REGISTRY_PASSWORD",
    "KAFKA_SINK_PASSWORD",
    "KAFKA_ORCHESTRATOR_PASSWORD",
    "KAFKA_OPERATOR_PASSWORD",
    "KAFKA_SIMULATION_PASSWORD",
    "KAFKA_PRODUCER_EVENTS_PASSWORD",
    "KAFKA_PRODUCER_ORDERS_PASSWORD",
    "KAFKA_PRODUCER_RESTAURANTS_PASSWORD",
    "KAFKA_PRODUCER_USERS_PASSWORD",
    "SCHEMA_REGISTRY_PASSWORD",
    "SNOWFLAKE_PASSWORD",
    "UI_PASSWORD",
    "GRAFANA_PASSWORD",
    "GRAFANA_SECRET_KEY",
    "SINK_FLUSH_TOKEN",
    "SPARK_CONNECT_TOKEN",
)
"""Letters and digits, because some of them are part of a URL."""

MAY_BE_EMPTY = ("COMPOSE_PROFILES", "PARTITIONS_START_DATE")
"""Left empty they say something: no stand-in of the warehouse, and no first date."""

_HEAD = "# Secrets and what differs by installation, written by `make env`; keep it off every repository.\n"


def defaults(now: datetime) -> dict[str, str]:
    """Return the variables of a new installation that are no secrets.

    Args:
        now: The dates of the platform begin two days before.
    """
    return {
        "COMPOSE_PROFILES": "warehouse-stand-in",
        "MINIO_ROOT_USER": "store-admin",
        "MINIO_PIPELINE_USER": "pipeline",
        "SNOWFLAKE_USER": "pdp",
        "UI_USER": "pdp",
        "KAFKA_CLUSTER_ID": _cluster_id(),
        "PARTITIONS_START_DATE": (now.date() - timedelta(days=2)).isoformat(),
    }


def completed(existing: dict[str, str], now: datetime) -> dict[str, str]:
    """Return the variables with what is missing, or empty and must not be, filled in."""
    present = {name: value for name, value in existing.items() if value or name in MAY_BE_EMPTY}
    return {**defaults(now), **{name: secrets.token_hex(24) for name in SECRETS}, **present}


def main() -> int:
    """Write the file; return 0."""
    before = ENV_FILE.read_text(encoding="utf-8").splitlines() if ENV_FILE.exists() else []
    existing = _variables(before)
    variables = completed(existing, datetime.now(UTC))
    new = {name: value for name, value in variables.items() if existing.get(name) != value}
    kept = [line for line in before if not new.keys() & _variables([line]).keys()]
    draft = ENV_FILE.with_name(".env.new")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write("" if before else _HEAD)
        file.writelines(f"{line}\n" for line in [*kept, *(f"{name}={value}" for name, value in new.items())])
    draft.replace(ENV_FILE)
    print(
        f"{ENV_FILE.name}: {len(variables)} variables, {len(new)} of them new. The UI's login is UI_USER and"
        " UI_PASSWORD."
    )
    return 0


def _variables(lines: Sequence[str]) -> dict[str, str]:
    stripped = (line.strip() for line in lines)
    return dict(line.split("=", 1) for line in stripped if not line.startswith("#") and "=" in line)


def _cluster_id() -> str:
    # Kafka's tools take an id with a leading dash for an option.
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


if __name__ == "__main__":
    sys.exit(main())
