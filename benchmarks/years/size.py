"""What a platform keeps beside the data itself: bytes and objects, by who keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.frame import Amount
from benchmarks.years.platform import YearsPlatform


def sizes(young: YearsPlatform, young_dates: int, old: YearsPlatform, old_dates: int) -> Iterator[Amount]:
    """Yield files and bytes of each part of both platforms, a date and domain.

    Args:
        young_dates: Dates of each domain that the younger one has.
        old_dates: The same of the older one.
    """
    before, after = _parts(young), _parts(old)
    domains = len(young.catalog.names)
    for part in sorted(before.keys() | after.keys()):
        for what, number in (("files", 0), ("bytes", 1)):
            yield Amount(
                f"{part}, {what} a date",
                before.get(part, (0, 0))[number] / (young_dates * domains),
                after.get(part, (0, 0))[number] / (old_dates * domains),
            )


def _parts(platform: YearsPlatform) -> dict[str, tuple[int, int]]:
    parts: dict[str, tuple[int, int]] = {}
    for path in platform.folder.rglob("*"):
        if path.is_file():
            files, size = parts.get(part := _part(path.relative_to(platform.folder)), (0, 0))
            parts[part] = (files + 1, size + path.stat().st_size)
    return parts


def _part(path: Path) -> str:
    top, *rest = path.parts
    if top == "dagster":
        return "Dagster: output of runs" if rest[0] == "storage" else f"Dagster: {rest[0]}"
    if "_delta_log" in rest:
        return "Delta logs"
    return {"bronze": "Bronze", "silver": "Silver and quarantine", "gold": "Gold"}.get(rest[0], "the platform's tables")
