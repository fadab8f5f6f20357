"""Downloads are checked, atomic and restartable; a wrong Java is passed over."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded.errors import DownloadError, ToolchainError
from infra.embedded.progress import Reporter
from infra.embedded.toolchain import artifacts
from infra.embedded.toolchain.artifacts import Artifact
from infra.embedded.toolchain.java import java_major

CONTENT = b"a jar"
QUIET = Reporter(quiet=True)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "test.lock"
    digest = hashlib.sha256(CONTENT).hexdigest()
    file.write_text(f'[demo]\n"g:a:1" = {json.dumps(digest)}\n"g:b:2:tar.gz:all" = {json.dumps(digest)}\n')
    return file


def serve(monkeypatch: pytest.MonkeyPatch, content: Callable[[Artifact], bytes]) -> list[str]:
    asked: list[str] = []

    def download(item: Artifact, cache: Path, begin: object = None) -> Path:
        asked.append(item.coordinate)
        cache.mkdir(parents=True)
        (cache / "file").write_bytes(content(item))
        return cache / "file"

    monkeypatch.setattr(artifacts, "download", download)
    monkeypatch.setattr("infra.embedded.toolchain.artifacts.time.sleep", lambda _seconds: None)
    return asked


def test_missing_files_are_fetched_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Path) -> None:
    asked = serve(monkeypatch, lambda _item: CONTENT)
    folder = tmp_path / "jars"
    (folder / ".incoming-killed").mkdir(parents=True)
    paths = artifacts.ensure("demo", folder, QUIET, lock)
    assert [path.name for path in paths] == ["a-1.jar", "b-2-all.tar.gz"]
    assert sorted(path.name for path in folder.iterdir()) == ["a-1.jar", "b-2-all.tar.gz"]
    artifacts.ensure("demo", folder, QUIET, lock)
    assert sorted(asked) == ["g:a:1", "g:b:2:tar.gz:all"]


def test_a_file_with_another_digest_is_refused_and_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Path
) -> None:
    serve(monkeypatch, lambda item: b"tampered" if item.artifact_id == "b" else CONTENT)
    with pytest.raises(ToolchainError, match=r"g:b:2:tar\.gz:all"):
        artifacts.ensure("demo", tmp_path / "jars", QUIET, lock)
    assert not (tmp_path / "jars" / "b-2-all.tar.gz").exists()


def test_an_unreachable_repository_is_tried_again_and_then_transient(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Path
) -> None:
    def fail(_item: Artifact) -> bytes:
        raise ConnectionError("no route")

    asked = serve(monkeypatch, fail)
    with pytest.raises(DownloadError, match="3 attempts"):
        artifacts.ensure("demo", tmp_path / "jars", QUIET, lock)
    assert asked.count("g:a:1") == 3
    assert list((tmp_path / "jars").iterdir()) == []


def test_an_untrusted_repository_is_tried_again_with_the_machines_certificates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Path
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)

    def content(_item: Artifact) -> bytes:
        if "REQUESTS_CA_BUNDLE" not in os.environ:
            raise ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
        return CONTENT

    serve(monkeypatch, content)
    assert all(path.is_file() for path in artifacts.ensure("demo", tmp_path / "jars", QUIET, lock))
    assert "REQUESTS_CA_BUNDLE" not in os.environ


def test_every_locked_artifact_has_a_digest_and_a_name_of_its_own() -> None:
    for group in ("kafka", "apicurio", "delta", "s3a", "ecj", "s3proxy"):
        items = artifacts.locked(group)
        assert all(len(item.sha256) == 64 for item in items)
        assert len({item.filename for item in items}) == len(items)


@pytest.mark.parametrize(
    ("output", "major"),
    [('openjdk version "17.0.15" 2025-04-15', 17), ('java version "1.8.0_402"', 8), ("no java here", None)],
)
def test_the_java_version_is_read_from_the_program(tmp_path: Path, output: str, major: int | None) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{output}' >&2\n")
    java.chmod(0o755)
    assert java_major(java) == major
    assert java_major(tmp_path / "absent") is None
