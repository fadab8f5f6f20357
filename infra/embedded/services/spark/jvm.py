"""How a JVM of Spark is started from the package `pyspark`: options, class path, log format, properties.

Every program of Spark (Connect server, master, worker, history server) is started through here, on a laptop and in a
container. Which programs run, and with which properties, belongs to their services and to `properties`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.errors import ToolchainError
from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.services.small_jvm import SMALL_JVM

CONNECT_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
_DRIVER_JVM = (
    # The best throughput of the collectors on two cores.
    "-XX:+UseParallelGC",
    # C2 stays on, it halves the time of a day's tasks; but what a driver runs is planned and compiled a few thousand
    # times, and rows come by the hundred thousand. Of a first day of 860,000 events C2 took 29 CPU seconds at the
    # default thresholds, 20 at ten and 15 at thirty times, of a second 10, 7 and 5; the tasks no more. At a hundred
    # times it took 10, but the tasks between 30 and 44 instead of 24.
    "-XX:Tier4InvocationThreshold=150000",
    "-XX:Tier4MinInvocationThreshold=18000",
    "-XX:Tier4CompileThreshold=450000",
    "-XX:Tier4BackEdgeThreshold=120000",
    "-XX:+UnlockDiagnosticVMOptions",  # of the directives, `_DIRECTIVES`
)

# What plans queries and makes code of them runs for seconds in all, and its few large methods cost C2 more than it
# gives back: of a first day of 860,000 events C2 took 15 to 17 CPU seconds, a third of them for Janino, and takes 9
# without these; all else was the same. They stay with C1. What is done to rows is not among them. The format is that of
# https://docs.oracle.com/en/java/javase/17/vm/writing-directives.html.
_DIRECTIVES = [
    {
        "match": [
            "org/codehaus/janino/*.*",
            "org/codehaus/commons/*.*",
            "org/apache/xbean/*.*",
            "org/antlr/*.*",
            "org/sparkproject/connect/*.*",
            "jdk/internal/org/objectweb/*.*",
            "java/io/ObjectInputStream*.*",
            "java/io/ObjectOutputStream*.*",
            "java/io/ObjectStream*.*",
            "scala/reflect/*.*",
        ],
        "c2": {"Exclude": True},
    }
]

SUBMIT = "org.apache.spark.deploy.SparkSubmit"

# What Spark's own launcher passes to a JVM since Java 17, without the incubator module that it can do
# without.
_OPENED_PACKAGES = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
)
# The daemons log their state at INFO, and it is the only sign of a worker that joined or was lost.
_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.deploy.name = org.apache.spark.deploy
logger.deploy.level = {deploy_level}
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{{ISO8601}} %p %c{{1}}: %m%n%ex
"""
# As Spark redacts its own listings (spark.redaction.regex), and as variables are named.
_SECRET = re.compile(r"secret|password|token|access[._]?key", re.IGNORECASE)

Properties = Mapping[str, str | int]


@dataclass(frozen=True)
class SparkJvm:
    """Starts programs of Spark.

    Args:
        java: The launcher of a Java 17 to 21.
        folder: Configuration and temporary files of the program; it exists.
        jars: Class path in front of the jars of `pyspark`.
        local_ip: Address by which other programs of Spark reach this one.
    """

    java: Path
    folder: Path
    jars: Sequence[Path] = ()
    local_ip: str = LOOPBACK

    def command(
        self, main_class: str, *arguments: str | Path | int, heap: str, options: Sequence[str] = ()
    ) -> list[str | Path]:
        """Return the program's command line; it names no secret.

        Args:
            heap: Heap of the JVM, in the JVM's notation.
            options: Options of the JVM besides those that every program has.
        """
        logging_file = self.folder / "log4j2.properties"
        logging_file.write_text(_LOGGING.format(deploy_level="warn" if main_class == SUBMIT else "info"))
        classpath = [*self.jars, *sorted((pyspark_home() / "jars").glob("*.jar"))]
        return [
            self.java,
            f"-Xmx{heap}",
            *options,
            *java_options(),
            f"-Djava.io.tmpdir={self._temporary()}",
            f"-Dlog4j2.configurationFile={logging_file}",
            "-cp",
            os.pathsep.join(map(str, classpath)),
            main_class,
            *map(str, arguments),
        ]

    def daemon(
        self, main_class: str, *arguments: str | Path | int, properties: Properties, heap: str
    ) -> list[str | Path]:
        """Return the command line of a master, a worker or a history server.

        Args:
            properties: Written to a file of its owner's.
            heap: Heap of the JVM, in the JVM's notation.
        """
        file = write_properties(self.folder / "spark.properties", properties)
        return self.command(main_class, "--properties-file", file, *arguments, heap=heap, options=SMALL_JVM)

    def submit(self, program: str, properties: Properties, *, heap: str) -> list[str | Path]:
        """Return the command line of a program of Spark that is a driver, by `spark-submit`.

        Args:
            program: Its main class, as `CONNECT_SERVER`.
            properties: Written to a file that its owner alone can read: credentials are among them, and every user of
                the machine sees a command line.
            heap: Heap of the JVM, in the JVM's notation.
        """
        file = write_properties(self.folder / "spark.properties", properties)
        directives = self.folder / "compiler_directives.json"
        directives.write_text(json.dumps(_DIRECTIVES, indent=2))
        arguments = ("--properties-file", file, "--class", program, "spark-internal")
        options = (*_DRIVER_JVM, f"-XX:CompilerDirectivesFile={directives}")
        return self.command(SUBMIT, *arguments, heap=heap, options=options)

    def environment(self) -> dict[str, str]:
        """Return the variables that every program of Spark needs."""
        return {
            "SPARK_HOME": str(pyspark_home()),
            # A worker starts executors by Spark's launcher, which else looks for a source tree's build to know it.
            "SPARK_SCALA_VERSION": "2.13",
            "SPARK_LOCAL_IP": self.local_ip,
            "JAVA_HOME": str(self.java.parent.parent),
            "TZ": "UTC",
            # Python functions run under the interpreter, and so with the libraries, of the caller.
            "PYSPARK_PYTHON": sys.executable,
        }

    def _temporary(self) -> Path:
        folder = self.folder / "tmp"
        folder.mkdir(exist_ok=True)
        return folder


def java_options() -> list[str]:
    """Return what each JVM needs that runs Spark's code, the executors' included."""
    return [
        *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED_PACKAGES),
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Djava.net.preferIPv6Addresses=false",
    ]


def write_properties(path: Path, properties: Properties) -> Path:
    """Write a properties file that only its owner can read, and return its path."""
    path.unlink(missing_ok=True)  # an earlier one may be open to others
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        for name, value in properties.items():
            # Java reads a backslash as the beginning of an escape, and a line break as the end of the value.
            text = str(value).replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
            file.write(f"{name}={text}\n")
    return path


def secrets_of(properties: Properties) -> list[str]:
    """Return the values that belong in no log and no error."""
    return [str(value) for name, value in properties.items() if value and _SECRET.search(name)]


def pyspark_home() -> Path:
    """Return the folder of the package `pyspark`, which is a SPARK_HOME.

    Raises:
        ToolchainError: it is not installed.
    """
    # Found without importing it: the import takes a second and pulls in gRPC.
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise ToolchainError("The package `pyspark` is not installed; run `make setup`.")
    return Path(spec.origin).parent
