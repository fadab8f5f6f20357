"""Compile Delta's log store for S3 to a jar, while an image builds: `build-log-store.py JARS TARGET`."""

import sys
from pathlib import Path

from infra.embedded.toolchain.java import Jdk
from infra.embedded.toolchain.java_build import build_jar

jars, target = map(Path, sys.argv[1:])
[compiler] = (jars / "ecj").glob("*.jar")
classpath = [*(jars / "delta").glob("delta-storage-*.jar"), *(jars / "hadoop").glob("*.jar")]
sources = sorted(Path("infra/delta_log_store").glob("*.java"))
build_jar(
    "delta-log-store", sources, target, jdk=Jdk(Path("/opt/java/openjdk"), 17), compiler=compiler, classpath=classpath
)
