"""What the schema registry knows of a domain's contract: the schema id, and a compiled validator.

Connecting, looking up and validating belong here, the versions of a subject to `platform_kafka.registered_versions`;
registering belongs to `platform_kafka.provision`, so that a running producer can never change a contract. How a
contract changes is explained in docs/operations.md.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from platform_core.domain.catalog import Domain
from platform_core.domain.released_contracts import require_compatible
from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings
from platform_kafka.registered_versions import ANSWER_SECONDS, no_answer, registered_versions
from platform_kafka.tls import registry_fault
from platform_kafka.topics import subject_name

NOT_FOUND = 404


@dataclass(frozen=True)
class RegisteredContract:
    """A contract and the id that the registry gave it.

    Attributes:
        domain: Whose contract.
        schema_id: The registry's id, written before every value.
        validator: The compiled JSON Schema.
    """

    domain: Domain
    schema_id: int
    validator: Any

    def violation(self, record: dict[str, Any]) -> str | None:
        """Return where and how a record breaks the contract, or None if it does not; the text has no value of it."""
        if self.validator.is_valid(record):
            return None
        error = next(iter(self.validator.iter_errors(record)))
        path = ".".join(str(part) for part in error.instance_path) or "$"
        return f"`{path}`: {error.message} (`{error.schema_path[-1]}`)"


def registry_client(settings: Settings) -> SchemaRegistryClient:
    """Return a registry client that has not asked anything yet."""
    config: dict[str, Any] = {
        "url": settings.schema_registry_url,
        "max.retries": 2,
        "timeout": ANSWER_SECONDS,
    }
    if settings.schema_registry_ca_file is not None:
        config["ssl.ca.location"] = str(settings.schema_registry_ca_file)
    if settings.schema_registry_password is not None:
        password = settings.schema_registry_password.get_secret_value()
        config["basic.auth.user.info"] = f"{settings.schema_registry_username}:{password}"
    return SchemaRegistryClient(config)


def connect_registry(settings: Settings, *, wait_seconds: float = 0.0) -> SchemaRegistryClient:
    """Return a registry client that has got an answer.

    Raises:
        ConfigurationError: the registry refuses the login, or its certificate is not accepted.
        TransientError: the registry does not answer in time.
    """
    client = registry_client(settings)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            client.get_subjects()
            return client
        except SchemaRegistryError as error:
            if error.http_status_code in (401, 403):
                raise ConfigurationError(
                    f"The schema registry at `{settings.schema_registry_url}` refuses the login (HTTP"
                    f" {error.http_status_code}). Set `SCHEMA_REGISTRY_USERNAME` and `SCHEMA_REGISTRY_PASSWORD` as the"
                    " registry knows them.",
                ) from None
            if error.http_status_code == NOT_FOUND:
                raise ConfigurationError(
                    f"The schema registry at `{settings.schema_registry_url}` answered {error.http_status_code}."
                    " Set `SCHEMA_REGISTRY_URL` to the base of Confluent's REST API.",
                ) from None
            cause: Exception = error
        except Exception as error:  # the client lets its HTTP library's own errors through
            cause = error
        if fault := registry_fault(settings):
            raise ConfigurationError(fault) from None
        if time.monotonic() >= deadline:
            raise TransientError(
                f"The schema registry at `{settings.schema_registry_url}` does not answer"
                f" ({type(cause).__name__}). Check `SCHEMA_REGISTRY_URL` and that it runs.",
            ) from cause
        time.sleep(0.5)


def compile_contract(domain: Domain, schema_id: int) -> RegisteredContract:
    """Return the domain's contract with a compiled validator that also checks formats."""
    validator = jsonschema_rs.validator_for(domain.contract.schema, validate_formats=True, mask="the value")
    return RegisteredContract(domain, schema_id, validator)


def find_contract(settings: Settings, client: SchemaRegistryClient, domain: Domain) -> RegisteredContract:
    """Return the domain's contract as the registry knows it.

    Raises:
        ConfigurationError: this version of the contract is not registered; where it cannot be, the message names the
            properties that break compatibility.
        TransientError: the registry does not answer.
    """
    subject = subject_name(domain)
    try:
        registered = client.lookup_schema(subject, Schema(domain.contract.schema_text, "JSON"))
    except SchemaRegistryError as error:
        if error.http_status_code == NOT_FOUND:
            require_compatible(domain, registered_versions(settings, subject))
            raise ConfigurationError(
                f"Domain `{domain.name}`: `{domain.contract.path}` is not registered under subject `{subject}`."
                " Run `python -m producers provision`.",
            ) from None
        raise no_answer(subject, error) from error
    return compile_contract(domain, int(registered.schema_id or 0))
