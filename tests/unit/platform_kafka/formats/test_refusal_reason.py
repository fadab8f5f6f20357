"""Each reason of a refused record is explained to the person on call."""

from __future__ import annotations

import pytest

from platform_core.settings import REPOSITORY
from platform_kafka.formats.refusal_reason import RefusalReason

OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("reason", RefusalReason)
def test_a_row_of_operations_explains_it(reason: RefusalReason) -> None:
    assert any(f"`{reason}`" in line.split("|")[1] for line in OPERATIONS if line.startswith("| `"))
