"""The options of a JVM that computes little, on a laptop and in a container: those of `small_jvm.options`.

What one program needs besides, its heap first of all, belongs to its service.
"""

from __future__ import annotations

from pathlib import Path

_LINES = Path(__file__).with_suffix(".options").read_text(encoding="utf-8").splitlines()

SMALL_JVM = tuple(line for line in _LINES if line.startswith("-"))
"""Of an idle broker they are a third of the memory, and of any start half the CPU."""
