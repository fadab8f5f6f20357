"""What a person sees while the embedded services are installed and started.

Only presentation lives here, no decisions; log records go through `logging` as everywhere. Bars appear on a
terminal, plain lines elsewhere.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from platform_core.counted import counted

_MEBIBYTE = 1024 * 1024


class Reporter:
    """Prints progress to standard error.

    Args:
        quiet: Print nothing; what tests use.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        # Created per call site, so that a captured or replaced stderr is honoured.
        self._console = Console(file=sys.stderr, highlight=False, quiet=quiet, soft_wrap=True)
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        """Print one line; safe from several threads."""
        with self._lock:
            self._console.print(text, markup=False)

    def service(self, name: str, port: int, seconds: float) -> None:
        """Say that a service answers."""
        self.line(f"  {name:<16} 127.0.0.1:{port:<6} {seconds:5.1f} s")

    @contextmanager
    def downloads(self, label: str, count: int) -> Iterator[Callable[[str, int], Callable[[int], None]]]:
        """Show downloads while the block runs.

        Yields:
            A function of (file name, total bytes), which returns a function called with each chunk's bytes.
        """
        started = time.monotonic()
        received = 0

        if not self._console.is_terminal:
            self.line(f"  {label}: downloading {counted(count, 'file')}")

        columns = (
            TextColumn("  {task.description:<44}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as bars:

            def begin(name: str, total: int) -> Callable[[int], None]:
                task = bars.add_task(name, total=total)

                def advance(chunk: int) -> None:
                    nonlocal received
                    received += chunk
                    bars.advance(task, chunk)
                    if bars.tasks and bars.finished:
                        bars.refresh()

                return advance

            yield begin
        seconds = time.monotonic() - started
        self.line(f"  {label}: {counted(count, 'file')}, {received / _MEBIBYTE:.1f} MiB in {seconds:.1f} s")
