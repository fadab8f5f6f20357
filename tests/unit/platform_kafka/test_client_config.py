"""How a client logs in to Kafka, and what is said when nobody told it as whom."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from platform_core.errors import ConfigurationError
from platform_core.settings import Settings
from platform_kafka.topics import kafka_client_config, refuse_unset_login


@pytest.mark.parametrize(("admin", "variable"), [(False, "`KAFKA_PASSWORD`"), (True, "`KAFKA_ADMIN_PASSWORD`")])
def test_a_login_that_is_not_set_names_its_variables(admin: bool, variable: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        refuse_unset_login(Settings(kafka_security_protocol="SASL_PLAINTEXT"), admin=admin)


def test_without_sasl_no_password_is_wanted() -> None:
    settings = Settings(kafka_security_protocol="PLAINTEXT")
    refuse_unset_login(settings)
    assert "sasl.password" not in kafka_client_config(settings)


def test_the_admin_has_a_login_of_its_own() -> None:
    settings = Settings(kafka_password=SecretStr("a"), kafka_admin_password=SecretStr("b"))
    assert kafka_client_config(settings)["sasl.password"] == "a"
    assert kafka_client_config(settings, admin=True)["sasl.password"] == "b"
