"""Alertmanager as Compose starts it: what the variables make of its configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from platform_core.settings import REPOSITORY
from tests.rigs.prometheus import program

START = REPOSITORY / "infra" / "monitoring" / "alertmanager" / "start"
SECRET = "T000/B000/xyz"


@pytest.mark.parametrize("slack", ["", f"https://hooks.slack.com/services/{SECRET}"], ids=["", "slack"])
@pytest.mark.parametrize("webhook", ["", f"https://events.example.org/{SECRET}?a=b&c='d"], ids=["", "webhook"])
def test_the_configuration_is_accepted_with_each_receiver_and_no_webhook_is_an_argument(
    tmp_path: Path, slack: str, webhook: str
) -> None:
    # In the program's place what shows with which variables and arguments it is started.
    (tmp_path / "alertmanager").symlink_to(shutil.which("env") or "")
    variables = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
        "SLACK_WEBHOOK_URL": slack,
        "ALERT_WEBHOOK_URL": webhook,
    }
    started = subprocess.run(["sh", START, "x=y"], env=variables, capture_output=True, text=True, check=False)
    assert f"--config.file={tmp_path}/alertmanager.yml" in started.stdout + started.stderr
    assert SECRET not in started.stdout + started.stderr
    made = tmp_path / "alertmanager.yml"
    checked = subprocess.run([program("amtool"), "check-config", made], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    text = made.read_text()
    assert ("slack_configs" in text, "webhook_configs" in text) == (bool(slack), bool(webhook))
    assert (SECRET in text) is bool(webhook)  # Slack's is in a file that the configuration names
    assert not any(path.stat().st_mode & 0o077 for path in tmp_path.iterdir() if not path.is_symlink())
