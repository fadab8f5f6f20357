"""Every pinned part is in the bill of materials, and an advisory that nobody has explained fails the check."""

from __future__ import annotations

import json
import re
import threading
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from packageurl import PackageURL

from infra.embedded.toolchain.artifacts import LOCK_FILE
from infra.supply_chain.__main__ import main
from infra.supply_chain.bill_of_materials import cyclonedx
from infra.supply_chain.check import Result, check
from infra.supply_chain.components import Part, jar, parts
from platform_core.settings import REPOSITORY
from tests.rigs.request_body import request_body

PYTHON = PackageURL("pypi", name="demo", version="1.0")
JAVA = PackageURL("maven", "g", "demo", "2.0", {"classifier": "all", "type": "jar"})
ADVISORIES = {"GHSA-1": {"aliases": ["CVE-1"], "summary": "It falls over."}, "PYSEC-2": {"details": "It leaks."}}


class Database:
    """Answers like osv.dev, one advisory a page."""

    def __init__(self, against: Mapping[str, list[str]]) -> None:
        self.against = against
        self.asked: list[str] = []
        database = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                queries = json.loads(request_body(self))["queries"]
                self.send([database.found(query) for query in queries])

            def do_GET(self) -> None:
                self.send(ADVISORIES[self.path.rsplit("/", 1)[-1]])

            def send(self, answer: Any) -> None:
                body = json.dumps({"results": answer} if isinstance(answer, list) else answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def found(self, query: Mapping[str, Any]) -> dict[str, Any]:
        purl = query["package"]["purl"]
        self.asked.append(purl)
        identifiers = self.against.get(purl, [])
        page = int(query.get("page_token", 0))
        answer: dict[str, Any] = {"vulns": [{"id": one} for one in identifiers[page : page + 1]]}
        if page + 1 < len(identifiers):
            answer["next_page_token"] = str(page + 1)
        return answer


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    result = Database({"pkg:pypi/demo@1.0": ["GHSA-1", "PYSEC-2"], "pkg:maven/g/demo@2.0": ["GHSA-1"]})
    thread = threading.Thread(target=result.server.serve_forever)
    thread.start()
    yield result
    result.server.shutdown()
    thread.join()
    result.server.server_close()


def known(tmp_path: Path, text: str) -> Path:
    (tmp_path / "known.toml").write_text(text)
    return tmp_path / "known.toml"


def test_an_advisory_that_nobody_has_explained_is_named(database: Database, tmp_path: Path) -> None:
    file = known(tmp_path, '["pkg:pypi/demo@1.0"]\nCVE-1 = "not used"\n')
    result = check([PYTHON, JAVA, PackageURL("docker", name="debian", version="12")], database.url, file)
    assert not result.unchecked
    [java, python] = sorted(result.unexplained)
    assert "pkg:maven/g/demo@2.0" in java
    assert "CVE-1, GHSA-1: It falls over." in java
    assert "PYSEC-2: It leaks." in python
    assert not [purl for purl in database.asked if purl.startswith("pkg:docker")]


def test_what_is_explained_passes_under_any_of_its_names(database: Database, tmp_path: Path) -> None:
    file = known(
        tmp_path, '["pkg:pypi/demo@1.0"]\nCVE-1 = "a"\nPYSEC-2 = "b"\n["pkg:maven/g/demo@2.0"]\nGHSA-1 = "c"\n'
    )
    result = check([PYTHON, JAVA], database.url, file)
    assert not result.unexplained and not result.stale
    assert not result.unchecked


def test_an_explanation_ends_with_its_version_and_needs_no_database(tmp_path: Path) -> None:
    file = known(tmp_path, '["pkg:pypi/demo@0.9"]\nCVE-1 = "not used"\n')
    result = check([PYTHON], "http://127.0.0.1:9", file)
    assert "pkg:pypi/demo@0.9, which is no part" in result.stale[0]
    assert "does not answer" in result.unchecked
    assert not result.checked


@pytest.mark.parametrize(
    ("result", "status", "strict"),
    [
        (Result(checked=3), 0, 0),
        (Result(unchecked="no answer"), 0, 0),
        (Result(unexplained=["CVE-1"], checked=3), 0, 1),
        (Result(stale=["no part"], checked=3), 1, 1),
    ],
)
def test_a_change_does_not_fail_for_what_was_published_since(
    monkeypatch: pytest.MonkeyPatch, result: Result, status: int, strict: int
) -> None:
    monkeypatch.setattr("infra.supply_chain.check.check", lambda purls: result)
    monkeypatch.setattr("infra.supply_chain.__main__.Toolchain.everything", lambda self: None)
    assert (main(["check"]), main(["check", "--strict"])) == (status, strict)


def test_every_line_of_every_lock_is_in_the_bill_of_materials() -> None:
    document = json.loads(cyclonedx(parts(installed=False)))
    purls = {component["purl"] for component in document["components"]}
    hashes = {hash_["content"] for component in document["components"] for hash_ in component.get("hashes", ())}
    for lock in (REPOSITORY / "requirements.lock", *(REPOSITORY / "infra/docker/locks").glob("*.lock")):
        pins = re.findall(r"^(\S+)==(\S+)", lock.read_text(), re.MULTILINE)
        assert pins
        for name, version in pins:
            assert f"pkg:pypi/{name.split('[')[0].lower()}@{version}" in purls
    for digests in tomllib.loads(LOCK_FILE.read_text()).values():
        assert set(digests.values()) <= hashes
    for image in re.findall(r"=(\S+)$", (REPOSITORY / "infra/docker/images.env").read_text(), re.MULTILINE):
        assert f"pkg:docker/{image.replace(':', '@')}" in purls
    assert [purl for purl in purls if purl.startswith("pkg:golang/github.com/minio/minio@")]


def test_what_was_packed_into_a_jar_is_its_contents(tmp_path: Path) -> None:
    file = tmp_path / "fat-1.0.jar"
    with zipfile.ZipFile(file, "w") as archive:
        for artifact, version in (("fat", "1.0"), ("inner", "3.1")):
            said = f"#made\ngroupId=g\nartifactId={artifact}\nversion={version}\n"
            archive.writestr(f"META-INF/maven/g/{artifact}/pom.properties", said)
    inner = Part(PackageURL("maven", "g", "inner", "3.1"), "fat-1.0.jar")
    assert jar(file, "lock") == Part(PackageURL("maven", "g", "fat", "1.0"), "lock", contents=(inner,))


@pytest.mark.parametrize(
    ("name", "purl"),
    [
        ("org.lz4.lz4-java-1.8.0", "pkg:maven/org.lz4/lz4-java@1.8.0"),
        (
            "com.microsoft.sqlserver.mssql-jdbc-12.8.1.jre11",
            "pkg:maven/com.microsoft.sqlserver/mssql-jdbc@12.8.1.jre11",
        ),
        ("modified-org.apache.kafka.kafka-clients-3.9.0", "pkg:maven/org.apache.kafka/kafka-clients@3.9.0"),
        ("scala-library-2.13.18", "pkg:maven/org.scala-lang/scala-library@2.13.18"),
        ("breeze_2.13-2.1.0", "pkg:generic/breeze_2.13@2.1.0"),
        ("plain", "pkg:generic/plain"),
    ],
)
def test_a_jar_that_says_nothing_is_known_by_its_name(tmp_path: Path, name: str, purl: str) -> None:
    with zipfile.ZipFile(tmp_path / f"{name}.jar", "w"):
        pass
    assert jar(tmp_path / f"{name}.jar", "lock").purl.to_string() == purl
