"""`gold.yaml`: every table and merge key is described, and a mistake says where and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from platform_core.domain.gold_tables import load_gold_tables
from platform_core.errors import ConfigurationError

KEYS = {"rides": ("day", "city")}
GOOD = "rides: {description: Rides of a day., columns: {day: UTC date, city: Where, rides: How many}}\n"


def test_tables_and_columns_are_described(tmp_path: Path) -> None:
    (tmp_path / "gold.yaml").write_text(GOOD)
    rides = load_gold_tables("couriers", tmp_path, KEYS)["rides"]
    assert rides.description == "Rides of a day."
    assert rides.columns["rides"] == "How many"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "the file is missing"),
        ("", "not a mapping of tables"),
        ("rides: {columns: {day: UTC date, city: Where}}", "key `description`"),
        ("rides: {description: '', columns: {day: UTC date, city: Where}}", "key `description`"),
        ("rides: {description: Rides., columns: {day: UTC date}}", "column `city` of `rides` is not described"),
        (GOOD.replace("How many", "''"), "column `rides` of `rides` is not described"),
        (GOOD.replace("rides: {", "riders: {"), "`riders` is described and no table of domains.yaml"),
        ("{}", "`rides` is not described"),
        (GOOD + "  columns_: {}", "not a mapping of tables"),
    ],
)
def test_a_missing_description_says_where(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "gold.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"`couriers`.*gold\.yaml") as caught:
        load_gold_tables("couriers", tmp_path, KEYS)
    assert says in str(caught.value)
