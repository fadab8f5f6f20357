"""A real browser for the tests of the UI, and where its screenshots stay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from platform_core.settings import REPOSITORY

SCREENSHOTS = REPOSITORY / ".platform" / "screenshots"
PATIENCE_MS = 60_000
"""What a busy machine may take to draw a page; playwright gives an expectation 5 s, fewer than a first page needs."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def open_page() -> Iterator[Page]:
    """Open a page of the machine's own Chromium or Chrome."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert found, f"no browser: install one of {', '.join(BROWSERS)} (Debian: apt-get install chromium)"
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        # Wide enough for six layers at a scale at which the graph shows kinds and checks.
        page = browser.new_page(viewport={"width": 2700, "height": 1100})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield page
        browser.close()


def keep(page: Page, name: str) -> Path:
    """Keep a screenshot; a blank one is a failure."""
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path)
    assert path.stat().st_size > 20_000  # a blank page has less than 10 kB
    return path


def seen(page: Page, name: str) -> str:
    """Return what a page says, for the report of a test that failed on it, and keep how it looks."""
    path = SCREENSHOTS / f"failed-{name}.png"
    page.screenshot(path=path)
    return f"{page.url}\n{path}\n{page.inner_text('body')}"
