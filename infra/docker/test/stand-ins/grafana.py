"""What of Grafana's HTTP API the tests ask for: a login, the provisioned dashboards, and its proxy to Prometheus.

It proves that the mounted files are readable and name each other, that the password comes in, and that Prometheus is
reached from Grafana's network. It proves nothing about Grafana itself, which draws the panels.
"""

from __future__ import annotations

import base64
import configparser
import hmac
import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

PROVISIONING = Path("/etc/grafana/provisioning")
PROXY = "/api/datasources/proxy/uid/"


def _provisioned(kind: str, key: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for file in sorted((PROVISIONING / kind).glob("*.yml")):
        entries += yaml.safe_load(os.path.expandvars(file.read_text()))[key]
    return entries


CONFIG = configparser.ConfigParser()
CONFIG.read_string(Path("/etc/grafana/grafana.ini").read_text())
LOGIN = f"{os.environ['GF_SECURITY_ADMIN_USER']}:{os.environ['GF_SECURITY_ADMIN_PASSWORD']}"
AUTHORIZATION = "Basic " + base64.b64encode(LOGIN.encode()).decode()
DATASOURCES = {source["uid"]: source["url"] for source in _provisioned("datasources", "datasources")}
DASHBOARDS = {
    dashboard["uid"]: dashboard
    for provider in _provisioned("dashboards", "providers")
    for file in Path(provider["options"]["path"]).glob("*.json")
    for dashboard in [json.loads(file.read_text())]
}
(Path("/var/lib/grafana") / "started").touch()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/api/health":
            self._answer(200, {"database": "ok"})
        elif not hmac.compare_digest(self.headers.get("Authorization", ""), AUTHORIZATION):
            self._answer(401, {"message": "Unauthorized"})
        elif self.path.startswith("/api/search"):
            self._answer(200, [{"uid": uid, "title": each["title"]} for uid, each in DASHBOARDS.items()])
        elif self.path.startswith("/api/dashboards/uid/"):
            self._answer(200, {"dashboard": DASHBOARDS[self.path.rpartition("/")[2]]})
        elif self.path.startswith(PROXY):
            uid, _, path = self.path.removeprefix(PROXY).partition("/")
            with urllib.request.urlopen(f"{DATASOURCES[uid]}/{path}", timeout=10) as answer:
                self._answer(answer.status, json.load(answer))
        else:
            self._answer(404, {"message": "Not found"})

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("", CONFIG.getint("server", "http_port")), _Handler).serve_forever()
