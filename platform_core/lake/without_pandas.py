"""Processes that use pyarrow and never pandas, which pyarrow imports by itself where it can.

Each says so at its start; a run must not, because Spark's client makes frames of what it gets.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module

import pyarrow as pa


def leave_pandas_out(*modules: str) -> None:
    """Keep pyarrow from importing pandas for the first array: 0.3 CPU seconds and 45 MB of a process that has no use.

    It asks once whether pandas can be imported; None in `sys.modules` is Python's own way to say that it cannot.

    Args:
        modules: Those of pyarrow that the process will use and that import pandas themselves, as `pyarrow.dataset`.
    """
    loaded = sys.modules.get("pandas")
    sys.modules["pandas"] = None  # type: ignore[assignment]
    with suppress(ImportError, AttributeError):
        pa.array([], pa.null())
    for module in modules:
        import_module(module)
    if loaded is None:
        del sys.modules["pandas"]
    else:
        sys.modules["pandas"] = loaded
