"""docker-compose.yml as a text: what must hold of every service is compared without an engine."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.docker import make_env
from platform_core.settings import REPOSITORY, Settings

FILE = REPOSITORY / "docker-compose.yml"
DOCKER = REPOSITORY / "infra" / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
COPIED = set(re.findall(r"^!(\w+)$", (REPOSITORY / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
"""Folders of the repository that an image has."""
ONE_SHOTS = {"store-init", "kafka-access", "provision", "shop-init", "pdp", "erase"}
PUBLISHED = {"ui-proxy": "8080", "store": "9001"}
# What others than the platform's Settings read: the images' programs, and the JVMs of Spark and Kafka.
NO_SETTINGS = re.compile(
    r"ALERT_WEBHOOK_URL|MINIO_|KAFKA_[A-Z_]+_PASSWORD$|CLUSTER_ID|NODE_|CONTROLLER_ONLY|HEAP|POSTGRES_PASSWORD|[A-Z]+_DB_PASSWORD"
    r"|SPARK_(LOCAL_IP|WORKER_|DRIVER_MEMORY)|UI_(USER|PASSWORD|HOSTS)|GF_SECURITY_|PROMETHEUS_URL|WAREHOUSE_|DAGSTER_HOME|HISTORY_"
)
NOT_ASKED = ("UI_URL", "SLACK_WEBHOOK_URL", "ALERT_WEBHOOK_URL")
"""Who gives none has no Slack."""
DECIDED_BY_COMPOSE = {
    "AWS_EC2_METADATA_DISABLED",
    "COMPUTE_LOGS_URI",
    "DOMAINS_FILE",
    "GCS_ENDPOINT_URL",
    "GCS_RETRY_SECONDS",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "KAFKA_SSL_CA_FILE",
    "KAFKA_SSL_CERTIFICATE_FILE",
    "KAFKA_SSL_KEY_FILE",
    "KAFKA_SSL_KEY_PASSWORD",
    "S3_CONNECT_TIMEOUT_SECONDS",
    "S3_MAX_ATTEMPTS",
    "S3_PATH_STYLE",
    "S3_REGION",
    "S3_REQUEST_TIMEOUT_SECONDS",
    "S3_SESSION_TOKEN",
    "SCHEMA_REGISTRY_CA_FILE",
    "SNOWFLAKE_PRIVATE_KEY_PATH",
    "SPARK_ENGINE",
    "SPARK_EVENT_LOG_DIR",
    "SPARK_WORKERS",
    "STATE_IN_LAKE",
}
"""The store, Kafka and the registry of this host are reached as they are here; a key file must be mounted, too."""
SECRET = re.compile(r"PASSWORD|SECRET_KEY|_TOKEN|_DSN|_URL$")


@pytest.fixture(params=SERVICES, ids=str)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_service_is_hardened_limited_and_rotates_its_log(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert "privileged" not in service
    assert "network_mode" not in service
    assert service["env_file"] == ["infra/embedded/processes/thrifty.env"]


def test_who_reads_the_lake_may_have_the_threads_that_delta_rs_starts(name: str) -> None:
    service = SERVICES[name]
    if "LAKE_URI" in service.get("environment", {}) and service["image"].startswith("pdp/platform"):
        # 512 of its runtime, and those of Kafka's clients, Arrow and the process itself.
        assert service["pids_limit"] >= 700


def test_a_service_is_checked_and_started_again(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOTS:
        assert service["restart"] in ("on-failure:5", "no")
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    # A drain of the sink ends after 20 s, and its commit after that.
    assert int(service["stop_grace_period"].removesuffix("s")) >= (40 if name == "s3-sink-consumer" else 10)


def test_only_the_ui_and_the_console_are_published_beyond_this_machine(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        if not port.startswith("127.0.0.1:"):
            assert port.rsplit(":", 1)[-1] == PUBLISHED[name]


def test_no_secret_has_a_default_and_none_is_an_argument(name: str) -> None:
    service = SERVICES[name]
    for variable, value in service.get("environment", {}).items():
        if SECRET.search(variable) and "${" in str(value) and variable not in NOT_ASKED:
            assert ":?" in value, variable
    assert "PASSWORD" not in str(service.get("command", "")) + str(service["healthcheck"]["test"])


def test_a_variable_is_known_to_who_reads_it(name: str) -> None:
    known = {field.upper() for field in Settings.model_fields}
    for variable in SERVICES[name].get("environment", {}):
        assert variable in known or NO_SETTINGS.match(variable), variable


def test_every_setting_may_be_set_in_the_env_file_or_is_the_hosts_own_matter() -> None:
    given = {variable for service in SERVICES.values() for variable in service.get("environment", {})}
    assert {field.upper() for field in Settings.model_fields} - given == DECIDED_BY_COMPOSE


def test_a_password_of_kafka_is_given_to_the_brokers_and_to_its_user_alone() -> None:
    brokers = SERVICES["kafka-1"]["environment"]
    for variable, value in brokers.items():
        if not variable.startswith("KAFKA_") or variable == "KAFKA_CONTROLLER_PASSWORD":
            continue
        user = variable.removeprefix("KAFKA_").removesuffix("_PASSWORD").lower().replace("_", "-")
        for name, service in SERVICES.items():
            environment = service.get("environment", {})
            if name in ("kafka-1", "kafka-2") or value not in environment.values():
                continue
            owner = environment.get("KAFKA_USERNAME") or ("admin" if "KAFKA_ADMIN_USERNAME" in environment else name)
            assert owner == user, f"{name} has the password of {user}"


def test_the_registrys_login_is_given_to_who_asks_for_contracts_alone() -> None:
    secret = COMPOSE["x-registry-client"]["SCHEMA_REGISTRY_PASSWORD"]
    has = {name for name, service in SERVICES.items() if secret in service.get("environment", {}).values()}
    producers = {name for name in SERVICES if name.startswith("producer-")}
    assert has == producers | {"registry", "provision", "shop-init", "s3-sink-consumer"}


def test_the_shop_that_lives_has_no_login_but_its_databases() -> None:
    environment = SERVICES["shop-simulator"]["environment"]
    assert {variable for variable in environment if variable not in COMPOSE["x-settings"]} == {"POSTGRES_DSN"}


def test_only_the_orchestrator_is_on_all_networks() -> None:
    platform = COMPOSE["networks"].keys() - {"monitoring", "alerts"}
    everywhere = {name for name, service in SERVICES.items() if platform <= set(service["networks"])}
    assert everywhere == {"dagster-code", "dagster-daemon"}


def test_grafana_reaches_prometheus_alone() -> None:
    assert SERVICES["grafana"]["networks"] == ["monitoring"]
    assert {name for name, service in SERVICES.items() if "monitoring" in service["networks"]} == {
        "grafana",
        "prometheus",
    }


def _words(name: str) -> list[str]:
    """Return what a service's container runs and is asked, word by word."""
    service = SERVICES[name]
    parts = (service.get("entrypoint", ()), service.get("command", ()), service["healthcheck"]["test"])
    return [word for part in parts for word in part]


def test_what_a_service_runs_is_in_the_platforms_images(name: str) -> None:
    words = _words(name)
    modules = [module for option, module in itertools.pairwise(words) if option == "-m"]
    scripts = [word for word in words if word.startswith("infra/")]
    for path in [*(module.replace(".", "/") for module in modules), *scripts]:
        assert any((REPOSITORY / f"{path}{ending}").is_file() for ending in ("", ".py", "/__main__.py")), path
        assert path.split("/")[0] in COPIED, path


def test_the_orchestrators_processes_are_those_of_a_laptop() -> None:
    workers = (REPOSITORY / "infra" / "embedded" / "processes" / "workers.py").read_text(encoding="utf-8")
    here = {word for name in ("dagster-code", "dagster-daemon") for word in _words(name)}
    assert set(re.findall(r'"(platform_assets\.\w+)"', workers)) == {
        word for word in here if word.startswith("platform_assets.")
    }


def test_what_a_dockerfile_copies_is_there() -> None:
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert source == "." or list(REPOSITORY.glob(source)), source


def test_images_are_pinned_and_said_once() -> None:
    pinned = dict(
        line.split("=", 1) for line in (DOCKER / "images.env").read_text().splitlines() if not line.startswith("#")
    )
    public = {s["image"] for s in SERVICES.values() if not s["image"].startswith("pdp/")}
    assert public <= set(pinned.values())
    for file in ("Dockerfile", "store/Dockerfile", "ui-proxy/Dockerfile"):
        for variable, image in re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", (DOCKER / file).read_text(), re.MULTILINE):
            assert pinned[variable] == image
    assert not [image for image in pinned.values() if image.endswith(":latest") or ":" not in image]


def test_the_file_of_secrets_has_each_one_that_is_asked_for_and_keeps_it() -> None:
    asked = set(re.findall(r"\$\{([A-Z0-9_]+):\?", FILE.read_text(encoding="utf-8")))
    now = datetime(2026, 11, 27, tzinfo=UTC)
    first = make_env.completed({}, now)
    assert asked <= first.keys()
    assert all(len(first[name]) == 48 for name in make_env.SECRETS)
    assert len({first[name] for name in make_env.SECRETS}) == len(make_env.SECRETS)
    again = make_env.completed({**first, "UI_PASSWORD": ""}, now)
    assert again["UI_PASSWORD"] not in ("", first["UI_PASSWORD"])
    assert {name: value for name, value in again.items() if name != "UI_PASSWORD"} == {
        name: value for name, value in first.items() if name != "UI_PASSWORD"
    }


def test_the_file_of_secrets_is_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_env, "ENV_FILE", tmp_path / ".env")
    assert make_env.main() == 0
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / ".env").read_text()
    assert make_env.main() == 0
    assert (tmp_path / ".env").read_text() == before


def test_a_persons_own_lines_stay_in_the_file_of_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    monkeypatch.setattr(make_env, "ENV_FILE", file)
    own = "# Snowflake, and no stand-in\nCOMPOSE_PROFILES=\nSNOWFLAKE_HOST=\n\nUI_USER=ada\n"
    file.write_text(own + "UI_PASSWORD=\n")
    assert make_env.main() == 0
    assert file.read_text().startswith(own)
    assert len(re.findall("^UI_PASSWORD=[0-9a-f]{48}$", file.read_text(), re.MULTILINE)) == 1
    assert "UI_PASSWORD=\n" not in file.read_text()
    before = file.read_text()
    assert make_env.main() == 0
    assert file.read_text() == before
