"""An S3 server for what needs a real one: S3Proxy over a folder, with signatures checked and atomic PUTs.

The laptop's lake is a plain folder; this is for `STORE=s3` and for tests. What the sink and the tables expect of a
store is in docs/architecture.md; the server is https://github.com/gaul/s3proxy.
"""

from __future__ import annotations

from pathlib import Path

from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.service import EmbeddedService, http_status, new_password
from infra.embedded.toolchain.toolchain import Toolchain

_USER = "pdp"
BUCKET = "lake"


class ObjectStore(EmbeddedService):
    """S3Proxy with one user and the bucket `lake`.

    Args:
        root: Folder of the service.
        toolchain: Where Java and the jar come from.
        durable: Keep the objects of an earlier start.
    """

    name = "object_store"

    def __init__(self, root: Path, *, toolchain: Toolchain | None = None, durable: bool = False) -> None:
        super().__init__(root, toolchain=toolchain, durable=durable)
        self._secret = new_password()

    def prepare(self) -> None:
        """Find Java and fetch the server."""
        _ = self.toolchain.jdk, self.toolchain.s3proxy

    def launch(self) -> None:
        """Start the server and wait until it answers."""
        [self.port] = self._own_ports(1)
        data = self.root / "data"
        (data / BUCKET).mkdir(parents=True, exist_ok=True)
        config = self.root / "s3proxy.conf"
        config.touch(mode=0o600)
        config.write_text(
            "s3proxy.authorization=aws-v2-or-v4\n"
            f"s3proxy.endpoint=http://{LOOPBACK}:{self.port}\n"
            f"s3proxy.identity={_USER}\n"
            f"s3proxy.credential={self._secret}\n"
            "jclouds.provider=filesystem-nio2\n"
            f"jclouds.filesystem.basedir={data}\n"
        )
        process = self._run(
            [
                self.toolchain.jdk.java,
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-jar",
                self.toolchain.s3proxy,
                "--properties",
                config,
            ],
            secrets=[self._secret],
        )
        process.wait_ready(self._answers, self.start_timeout_seconds)

    def env(self) -> dict[str, str]:
        """Return the variables of a lake in the bucket, all of them: a shell may have those of another store."""
        return {
            "LAKE_URI": f"s3://{BUCKET}",
            "S3_REGION": "us-east-1",
            "S3_PATH_STYLE": "true",
            "S3_SESSION_TOKEN": "",
            "S3_ENDPOINT_URL": f"http://{LOOPBACK}:{self.port}",
            "S3_ACCESS_KEY": _USER,
            "S3_SECRET_KEY": self._secret,
        }

    def _answers(self) -> bool:
        return http_status(self.port, "/") in (200, 403)
