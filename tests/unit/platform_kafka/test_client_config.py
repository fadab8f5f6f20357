"""How a client logs in to Kafka, and what is said when nobody told it as whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from platform_core.errors import ConfigurationError
from platform_core.settings import Settings
from platform_kafka.topics import kafka_client_config, refuse_unusable_login
from tests.rigs.settings_of import settings_of
from tests.rigs.tls.certificates import KEY_PASSWORD, Authority


@pytest.mark.parametrize(("admin", "variable"), [(False, "`KAFKA_PASSWORD`"), (True, "`KAFKA_ADMIN_PASSWORD`")])
def test_a_login_that_is_not_set_names_its_variables(admin: bool, variable: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        refuse_unusable_login(Settings(kafka_security_protocol="SASL_PLAINTEXT"), admin=admin)


def test_without_sasl_no_password_is_wanted() -> None:
    settings = Settings(kafka_security_protocol="PLAINTEXT")
    refuse_unusable_login(settings)
    assert "sasl.password" not in kafka_client_config(settings)


def test_the_admin_has_a_login_of_its_own() -> None:
    settings = Settings(kafka_password=SecretStr("a"), kafka_admin_password=SecretStr("b"))
    assert kafka_client_config(settings)["sasl.password"] == "a"
    assert kafka_client_config(settings, admin=True)["sasl.password"] == "b"


def test_files_of_tls_that_cannot_be_used_name_their_variable(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path / "authority").issue("app", password=KEY_PASSWORD)
    env = {
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CERTIFICATE_FILE": certificate,
        "KAFKA_SSL_KEY_FILE": key,
    }
    with pytest.raises(ConfigurationError, match=r"`KAFKA_SSL_KEY_FILE`.*`KAFKA_SSL_KEY_PASSWORD` its password"):
        refuse_unusable_login(settings_of(env))
    refuse_unusable_login(settings_of({**env, "KAFKA_SSL_KEY_PASSWORD": KEY_PASSWORD}))
    with pytest.raises(ConfigurationError, match=r"`KAFKA_SSL_CA_FILE`: .* has no certificate in PEM"):
        refuse_unusable_login(Settings(kafka_security_protocol="SSL", kafka_ssl_ca_file=key))
