"""Released versions beside a contract: adding, checking, refusing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from platform_core.domain.catalog import Domain, load_catalog
from platform_core.domain.released_contracts import Release, check_release, release, released_versions
from platform_core.errors import ConfigurationError
from producers.cli import main
from tests.rigs.contract_changes import DOMAINS, UNION, users_version, write_domains


def users(path: Path) -> Domain:
    return load_catalog(path)["users"]


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    return write_domains(tmp_path, {"users": users_version(1)})


def change(path: Path, schema: dict[str, Any]) -> Domain:
    """The domain with another contract in the same package."""
    (users(path).folder / "contract.json").write_text(json.dumps(schema))
    return users(path)


def test_a_new_domain_has_promised_nothing(domains: Path) -> None:
    assert check_release(users(domains)) == Release("users", 0)


def test_every_domain_of_the_repository_is_released() -> None:
    assert all(check_release(domain).version >= 1 for domain in load_catalog(DOMAINS))


def test_each_release_is_one_file_and_a_second_time_none(domains: Path) -> None:
    for number in (1, 2, 3):
        domain = change(domains, users_version(number))
        done, again = release(domain), release(domain)
        assert (done.version, again) == (number, Release("users", number))
        assert done.written == domain.folder / "released" / f"v{number}.json"
    assert check_release(domain).version == 3
    assert [version.schema for version in released_versions(domain)] == [users_version(n) for n in (1, 2, 3)]


def test_an_older_version_again_needs_no_release(domains: Path) -> None:
    for number in (1, 2):
        release(change(domains, users_version(number)))
    domain = change(domains, users_version(1))
    assert (check_release(domain).version, release(domain)) == (1, Release("users", 1))


def test_a_change_that_was_not_released_is_told_with_its_fields(domains: Path) -> None:
    release(users(domains))
    domain = change(domains, users_version(2))
    with pytest.raises(ConfigurationError, match=r"adds `nickname`.*release-contracts"):
        check_release(domain)


@pytest.mark.parametrize("act", [check_release, release])
def test_a_breach_of_any_version_names_file_version_and_field(domains: Path, act: Any) -> None:
    for number in (1, 2, 1, 3):
        release(change(domains, users_version(number)))
    schema = users_version(3)
    schema["properties"]["nickname"] = {"type": ["string", "null"]}
    domain = change(domains, schema)
    with pytest.raises(ConfigurationError) as caught:
        act(domain)
    for text in ("`users`", str(domain.contract.path), "version 1 ", "v1.json", "`nickname`", "takes any scalar"):
        assert text in caught.value.message
    assert len(released_versions(domain)) == 3


def test_a_release_that_was_edited_or_lost_is_found(domains: Path) -> None:
    for number in (1, 2, 3):
        domain = change(domains, users_version(number))
        release(domain)
    second = domain.folder / "released" / "v2.json"
    edited = users_version(2)
    edited["properties"]["tier"] = {"type": "integer"}
    second.write_text(json.dumps(edited))
    with pytest.raises(ConfigurationError, match=r"v2\.json.*`tier`"):
        check_release(domain)
    second.unlink()
    with pytest.raises(ConfigurationError, match=r"v2\.json` is missing"):
        check_release(domain)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("v1.json", "{", "is not JSON"), ("v1.json", "[]", "is not a JSON object"), ("1.json", "{}", "is not named")],
)
def test_a_broken_file_is_named(domains: Path, name: str, text: str, message: str) -> None:
    folder = users(domains).folder / "released"
    folder.mkdir()
    (folder / name).write_text(text)
    with pytest.raises(ConfigurationError, match=f"{name}` {message}"):
        check_release(users(domains))


def test_the_commands_release_and_refuse(
    domains: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fresh_settings: None
) -> None:
    monkeypatch.setenv("DOMAINS_FILE", str(domains))
    assert (main(["release-contracts"]), main(["check-contracts"])) == (0, 0)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["released"] == {"users": 1}
    schema = users_version(1)
    schema["properties"]["phone"] = UNION
    schema["required"].append("phone")
    change(domains, schema)
    assert main(["check-contracts"]) == 2
    assert "`phone` is new and is required" in capsys.readouterr().err


@pytest.fixture
def fresh_settings() -> Any:
    from platform_core.settings import settings

    settings.cache_clear()
    yield
    settings.cache_clear()
