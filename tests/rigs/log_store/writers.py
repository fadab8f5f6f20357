"""Drivers of Delta without Spark: JVMs that commit to one table by a log store, at the same time.

Two of them cost a few seconds where two Spark drivers cost a minute, and they meet at the log store, which is the only
part of a commit that differs between one driver and several.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from infra.embedded.services.spark.jvm import pyspark_home
from infra.embedded.toolchain.toolchain import Toolchain

CONDITIONAL = "pdp.delta.ConditionalS3LogStore"
STOCK = "io.delta.storage.S3SingleDriverLogStore"
_PROGRAM = Path(__file__).with_name("LogStoreWriter.java")


@dataclass(frozen=True)
class Commits:
    """What one writer says of its commits: the files that it believes to be in the table, and its errors."""

    believed: list[str]
    failed: list[str]


class Writers:
    """So many JVMs, alive from `with` to its end."""

    def __init__(self, toolchain: Toolchain, count: int = 2) -> None:
        self._toolchain = toolchain
        self._count = count

    def __enter__(self) -> Self:
        jars = [
            self._toolchain.compiled("log-store-writer", _PROGRAM),
            *self._toolchain.delta_jars,
            *self._toolchain.s3a_jars,
            *sorted((pyspark_home() / "jars").glob("*.jar")),
        ]
        command: list[str | Path] = [
            self._toolchain.jdk.java,
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
        ]
        command += ["-cp", os.pathsep.join(map(str, jars)), "LogStoreWriter"]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            for _ in range(self._count)
        ]
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def commit(self, log_store: str, table: str, count: int, spark_properties: Mapping[str, str]) -> list[Commits]:
        """Let each writer commit so many files at the same time, `w<writer>-<number>.parquet`."""
        with ThreadPoolExecutor(len(self._processes)) as pool:
            return list(
                pool.map(
                    lambda item: self._commit(
                        item[1], log_store, f"{table}/_delta_log", f"w{item[0]}", count, spark_properties
                    ),
                    enumerate(self._processes),
                )
            )

    @staticmethod
    def _commit(process, log_store: str, log: str, name: str, count: int, properties: Mapping[str, str]) -> Commits:
        for key, value in properties.items():
            if key.startswith("spark.hadoop."):
                process.stdin.write(f"set {key.removeprefix('spark.hadoop.')} {value}\n")
        process.stdin.write(f"commit {log_store} {log} {name} {count}\n")
        done, failed = process.stdout.readline().removeprefix("done ").rstrip("\n").split(" failed ")
        return Commits(done.split(",") if done else [], failed.split(";") if failed else [])
