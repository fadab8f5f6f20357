"""Domains, dates and ranges as people type them, with an answer that helps when they mistype.

Only parsing belongs here; what an argument is for is said by its command. Dates are UTC days.
"""

from __future__ import annotations

import difflib
import getpass
import os
import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from platform_core.clock import Clock, SystemClock
from platform_core.counted import counted
from platform_core.errors import PermanentError
from platform_core.partitions.date_range import DateRange

if TYPE_CHECKING:
    from platform_core.domain.catalog import Catalog, Domain

ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
AGO = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>[smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MOST_DATES = 36_525
"""A hundred years: more is a typing error, and would be a line for each date."""

DATE_HELP = "YYYY-MM-DD, `today` or `yesterday` (UTC)"

DomainName = Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain of domains.yaml")]
AnyDomainName = Annotated[str | None, typer.Argument(metavar="[DOMAIN]", help="A domain; all without it")]
DayText = Annotated[str, typer.Argument(metavar="DATE", help=DATE_HELP)]
AnyDayText = Annotated[str | None, typer.Argument(metavar="[DATE]", help=f"{DATE_HELP}; all without it")]
FromText = Annotated[str | None, typer.Option("--from", metavar="DATE", help=f"First date, {DATE_HELP}")]
ToText = Annotated[str | None, typer.Option("--to", metavar="DATE", help=f"Last date, included, {DATE_HELP}")]

TIME_HELP = "ISO time (UTC unless it says otherwise), date, or how long ago: `30m`, `2h`, `1d`"
SinceText = Annotated[str | None, typer.Option("--since", metavar="TIME", help=f"Only since then: {TIME_HELP}")]


class ArgumentError(PermanentError):
    """Something on the command line means nothing."""


def domain(catalog: Catalog, name: str) -> Domain:
    """Return a domain by name.

    Raises:
        ArgumentError: there is none; the message has the known ones and the most similar.
        ConfigurationError: its entry has a mistake; the message says which.
    """
    return catalog[one_of("domain", name, [*catalog.names, *catalog.broken])]


def domains(catalog: Catalog, name: str | None) -> list[Domain]:
    """Return the domain of a name; without one, all.

    Raises:
        ArgumentError: there is none of this name.
    """
    return [domain(catalog, name)] if name else list(catalog)


def day(text: str, clock: Clock | None = None) -> date:
    """Return a date: YYYY-MM-DD, `today` or `yesterday`, in UTC.

    Raises:
        ArgumentError: it is none of these.
    """
    today = (clock or SystemClock()).now().date()
    word = text.strip().lower()
    if word in ("today", "yesterday"):
        return today - timedelta(days=word == "yesterday")
    why = ""
    if ISO_DATE.fullmatch(word):
        try:
            return date.fromisoformat(word)
        except ValueError as error:
            why = f" ({error})"
    raise ArgumentError(
        f"`{text}` is not a date{why}. Write it as YYYY-MM-DD, for example `{today.isoformat()}`, or as `today` or"
        " `yesterday` (UTC).",
    )


def moment(text: str, clock: Clock | None = None) -> datetime:
    """Return a UTC time: ISO 8601, a date's beginning, or how long ago, such as `30m`, `2h` or `1d`.

    Raises:
        ArgumentError: it is none of these, or not a time that can be counted back to.
    """
    now = (clock or SystemClock()).now()
    word = text.strip()
    ago = AGO.fullmatch(word.lower())
    try:
        if ago is not None:
            return now - timedelta(**{UNITS[ago["unit"]]: float(ago["count"])})
        if word.lower() in ("today", "yesterday"):
            return datetime.combine(day(word, clock), datetime.min.time(), UTC)
        value = datetime.fromisoformat(word)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ArgumentError(
            f"`{text}` is not a time. Write it as `{now:%Y-%m-%dT%H:%M}` (UTC), as a date, or as how long ago: `30m`,"
            " `2h`, `1d`.",
        ) from None


def date_range(first: str | None, last: str | None) -> DateRange:
    """Return the range of `--from` and `--to`.

    Raises:
        ArgumentError: one of them is no date, or they are reversed.
    """
    result = DateRange(day(first) if first else None, day(last) if last else None)
    if result.first and result.last and (result.last - result.first).days >= MOST_DATES:
        raise ArgumentError(
            f"From {result.first} to {result.last} are {counted((result.last - result.first).days + 1, 'date')};"
            f" {MOST_DATES:,} are the most that a command takes. Choose a shorter range."
        )
    if result.first and result.last and result.first > result.last:
        raise ArgumentError(
            f"The range is reversed: `--from {result.first}` lies after `--to {result.last}`. Swap them."
        )
    return result


def one_of(kind: str, value: str, legal: list[str]) -> str:
    """Return `value` if it is legal.

    Raises:
        ArgumentError: it is not; the message has the legal ones and the most similar.
    """
    if value in legal:
        return value
    similar = difflib.get_close_matches(value.lower(), legal, n=1)
    hint = f" Did you mean `{similar[0]}`?" if similar else ""
    raise ArgumentError(f"There is no {kind} `{value}`.{hint} Known are {quoted(legal)}.")


def quoted(names: list[str]) -> str:
    """Return names in backticks, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def operator() -> str:
    """Return who runs this command: the name of the operating system's user, or its number in a bare container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
