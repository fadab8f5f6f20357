"""Credentials of an engine: in a file of its owner's and in the memory of its process, nowhere else."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from infra.embedded.errors import ServiceStartError
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.spark.jvm import CONNECT_SERVER, SparkJvm, secrets_of, write_properties
from infra.embedded.toolchain.toolchain import Toolchain

CREDENTIALS = {
    "spark.hadoop.fs.s3a.secret.key": "back\\slash and space",
    "spark.hadoop.fs.s3a.access.key": "AKIA",
    "spark.hadoop.fs.s3a.session.token": "t",
}


def test_a_command_line_shows_no_credential(tmp_path: Path) -> None:
    properties = {"spark.master": "local[2]", **CREDENTIALS}
    command = SparkJvm(Path("/jdk/bin/java"), tmp_path).submit(CONNECT_SERVER, properties, heap="1g")
    assert not [value for value in CREDENTIALS.values() if any(value in str(word).split("=") for word in command)]
    [file] = [Path(word) for word in command if str(word).endswith(".properties") and "log4j2" not in str(word)]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "spark.hadoop.fs.s3a.secret.key=back\\\\slash and space\n" in file.read_text()


def test_java_takes_the_driver_s_options_and_directives(toolchain: Toolchain, tmp_path: Path) -> None:
    command = SparkJvm(toolchain.jdk.java, tmp_path).submit(CONNECT_SERVER, {}, heap="1g")
    options = command[: command.index("-cp")]
    printed = subprocess.run([*options, "-XX:+CompilerDirectivesPrint", "-version"], capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    of_janino, of_the_rest = printed.stdout.split("Directive: (default)")
    assert "org/codehaus/janino/*.*" in of_janino
    c1, c2 = of_janino.split("c2 directives:")
    assert "Exclude:true" in c2
    assert "Exclude:true" not in c1
    assert "Exclude:true" not in of_the_rest


def test_a_file_that_was_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "spark.properties"
    file.touch(mode=0o644)
    write_properties(file, CREDENTIALS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_no_error_may_say_is_known_by_its_name() -> None:
    variables = {"AWS_SECRET_ACCESS_KEY": "s", "AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "us-east-1", "S3_TOKEN": ""}
    assert secrets_of({**CREDENTIALS, **variables}) == [*CREDENTIALS.values(), "s", "k"]


@pytest.mark.parametrize("name", ["a,b", "a:b"])
def test_a_folder_that_spark_would_take_for_two_is_refused(tmp_path: Path, name: str) -> None:
    toolchain = MagicMock(spec=Toolchain)
    with pytest.raises(ServiceStartError, match=f"`{name[1]}` in `.*{name}` for the end.*ENGINE=sail"):
        SparkConnect(tmp_path / name, toolchain=toolchain).prepare()
    SparkConnect(tmp_path / name, toolchain=toolchain, engine="sail").prepare()
