"""`domains.yaml` as frozen objects: what each domain is called, where its data lies, when it is due.

Add a key here when the framework needs to know something new about every domain; anything only one domain needs
belongs in its package. Reading the catalog imports no plugin and touches no service.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from platform_core.domain import source as sources
from platform_core.domain.catalog_checks import default_places, mistakes, places, shared_places
from platform_core.domain.contract import ColumnType, Contract, load_contract
from platform_core.domain.entry import NAME, Entry, TimeOfDay
from platform_core.domain.gold_tables import GoldTable, load_gold_tables
from platform_core.domain.strict_yaml import read_entries
from platform_core.errors import ConfigurationError
from platform_core.settings import Settings

BUCKET = r"^[a-z0-9][a-z0-9.-]*$"
FOLDER = r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*$"
_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class Topic(Entry):
    """The domain's raw topic."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")
    partitions: int = Field(3, strict=True, ge=1, le=1000)
    retention_days: int = Field(7, strict=True, ge=1)
    key: str = Field(description="The field whose value is the Kafka key")


class Bronze(Entry):
    """Where the sink writes, and which field decides a record's date."""

    bucket: str = Field("bronze", pattern=BUCKET)
    prefix: str = Field(pattern=FOLDER)
    partition_key: str = Field(pattern=NAME, description="Name of the Hive partition column")
    timestamp_col: str = Field(description="Contract field whose UTC date is the partition")
    # It changes no row, so it is no part of the code version.
    compact_after_days: int | None = Field(
        None,
        strict=True,
        ge=1,
        exclude=True,
        description="How old a date must be before maintenance replaces its small files by few; never by default",
    )


class Silver(Entry):
    """The cleaned table: one row a primary key within a date, with `global_key` over all dates."""

    bucket: str = Field("silver", pattern=BUCKET)
    prefix: str = Field(pattern=FOLDER)
    primary_key: tuple[str, ...] = Field(min_length=1)
    order_by: tuple[str, ...] = Field(default=(), description="The latest by these columns wins")
    # Left out of the code version where it is off: a domain that never declares it stays what it was.
    global_key: bool = Field(
        False,
        strict=True,
        exclude_if=lambda declared: not declared,
        description="A row may move to another date, and then lives there alone",
    )
    # It changes no row, so it is no part of the code version.
    z_order_by: tuple[str, ...] = Field(
        default=(),
        exclude=True,
        description="Columns by which maintenance orders large dates, so that readers pass over files",
    )


class Reconciliation(Entry):
    """Two SQL aggregates over one date that must be equal: one over a Gold table, one over Silver."""

    table: str
    gold: str
    silver: str


class Gold(Entry):
    """The aggregates: table name to merge keys; the first key is the partition column."""

    bucket: str = Field("gold", pattern=BUCKET)
    prefix: str = Field("", pattern=rf"{FOLDER}|^$")
    tables: dict[Annotated[str, Field(pattern=NAME)], tuple[Annotated[str, Field(pattern=NAME)], ...]] = Field(
        min_length=1
    )
    reconcile: tuple[Reconciliation, ...] = ()

    @model_validator(mode="after")
    def _reconciliations_name_a_table(self) -> Gold:
        for item in self.reconcile:
            if item.table not in self.tables:
                raise ValueError(f"reconcile names `{item.table}`, which is not among the tables")
        return self


class OnFailure(StrEnum):
    """What a row that breaks a rule means."""

    WARN = "warn"
    QUARANTINE = "quarantine"
    FAIL = "fail"


class Rule(Entry):
    """A row-level expectation: a SQL expression over Silver columns that is true for a good row.

    With `warn` the row stays in Silver and is counted; with `quarantine` it goes to the quarantine table; with `fail`
    it does too, and the date is not published when more than `max_ratio` of its records break the rule.
    """

    name: str = Field(pattern=NAME)
    expression: str
    reason: str = ""
    on_failure: OnFailure = OnFailure.QUARANTINE
    max_ratio: float = Field(0.0, strict=True, ge=0, le=1)


class Volume(Entry):
    """How far a date's rows may differ from the median of the days before it, before it is reported."""

    days: int = Field(14, strict=True, ge=3, le=365)
    min_ratio: float = Field(0.5, strict=True, ge=0)
    max_ratio: float = Field(2.0, strict=True, gt=0)

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Volume:
        if self.min_ratio > self.max_ratio:
            raise ValueError(f"min_ratio {self.min_ratio} is above max_ratio {self.max_ratio}")
        return self


class SourceTotals(Entry):
    """A query over the source database that one date of Silver must agree with.

    The query's parameters are `%(start)s` and `%(end)s`, the date's bounds in UTC; it returns one row, whose columns
    are compared with the SQL aggregates of `silver` in the same order.
    """

    query: str
    silver: tuple[str, ...] = Field(min_length=1)


class Quality(Entry):
    """The domain's rules, and how many bad rows a date may have before it is reported, and before it is refused."""

    rules: tuple[Rule, ...] = ()
    warn_quarantined_ratio: float = Field(0.01, strict=True, ge=0, le=1)
    max_quarantined_ratio: float = Field(0.05, strict=True, ge=0, le=1)
    volume: Volume = Volume()
    source: SourceTotals | None = None

    @model_validator(mode="after")
    def _rules_have_names_of_their_own(self) -> Quality:
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the rule `{name}` occurs twice; names must be unique")
        return self


class Domain(Entry):
    """One domain, everything the framework needs to know of it."""

    name: str = Field(pattern=NAME, exclude=True)
    description: str
    owner: str
    plugin: str
    start_date: date
    schedule: str = Field("0 6 * * *", description="Cron in UTC: minute, hour, day, month, day of the week")
    sla_deadline: TimeOfDay = time(6, 30)
    max_retries: int = Field(3, strict=True, ge=0)
    topic: Topic
    source: sources.Source | None = None
    bronze: Bronze
    silver: Silver
    gold: Gold
    warehouse_schema: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")
    subjects: dict[str, str] = Field(
        default={}, description="Kind of a person that records name, and the column with the identifier"
    )
    quality: Quality = Quality()
    folder: Path = Field(exclude=True)

    @field_validator("owner")
    @classmethod
    def _owner_is_addressable(cls, value: str) -> str:
        if "@" not in value and not value.startswith("team:"):
            raise ValueError("must be an e-mail address or `team:<name>`")
        return value

    @field_validator("schedule")
    @classmethod
    def _schedule_is_a_cron(cls, value: str) -> str:
        fields = value.split()
        if len(fields) != len(_CRON_RANGES) or not all(map(_is_cron_field, fields, _CRON_RANGES)):
            raise ValueError(f"`{value}` is no cron of five fields: minute, hour, day, month, day of the week")
        return value

    @field_validator("start_date")
    @classmethod
    def _start_date_is_near(cls, value: date) -> date:
        if value > datetime.now(UTC).date() + timedelta(days=366):
            raise ValueError(f"{value} is more than a year ahead: until then every record would be refused")
        return value

    @model_validator(mode="after")
    def _keys_begin_with_the_partition(self) -> Domain:
        for table, keys in self.gold.tables.items():
            if not keys or keys[0] != self.bronze.partition_key:
                raise ValueError(f"gold.tables.{table}: the first merge key must be `{self.bronze.partition_key}`")
        return self

    @model_validator(mode="after")
    def _command_is_free(self) -> Domain:
        if self.source is not None and self.command in sources.COMMANDS_OF_THE_PROGRAM:
            raise ValueError(f"`{self.command}` is another command of `python -m producers`; set `source.command`")
        return self

    @property
    def command(self) -> str:
        """What the domain's producer is called on the command line."""
        return (self.source and self.source.command) or self.name

    @property
    def source_table(self) -> str | None:
        """The table of the source database that the domain's records come from."""
        return getattr(self.source, "table", None)

    @property
    def tombstone_table(self) -> str | None:
        """The table of the source database that keeps deleted rows."""
        return getattr(self.source, "tombstones", None)

    @property
    def partition_key(self) -> str:
        """Name of the date column, the same from Bronze to the warehouse."""
        return self.bronze.partition_key

    @cached_property
    def contract(self) -> Contract:
        """The domain's contract, read once.

        Raises:
            ConfigurationError: the contract is missing or wrong.
        """
        contract = load_contract(self.name, self.folder / "contract.json")
        if self.partition_key.lower() in {name.lower() for name in contract.by_name}:
            raise ConfigurationError(
                f"Domain `{self.name}`: `bronze.partition_key` is `{self.partition_key}`, which is a property in"
                f" `{contract.path}` too; the date needs a name of its own."
            )
        misfits = [
            *sources.unless(contract, "bronze.timestamp_col", self.bronze.timestamp_col, ColumnType.TIMESTAMP),
            *sources.unless(contract, "topic.key", self.topic.key, ColumnType.STRING, ColumnType.INTEGER),
            *(self.source.mistakes(contract) if self.source else ()),
        ]
        for key, value, legal in misfits:
            raise ConfigurationError(
                f"Domain `{self.name}`: `{key}` is `{value}`, which must be {legal} in `{contract.path}`."
            )
        return contract

    @cached_property
    def gold_tables(self) -> dict[str, GoldTable]:
        """What the Gold tables and their columns mean, read once.

        Raises:
            ConfigurationError: a description is missing.
        """
        return load_gold_tables(self.name, self.folder, self.gold.tables)


def _is_cron_field(field: str, legal: tuple[int, int]) -> bool:
    for part in field.split(","):
        match = re.fullmatch(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/([1-9]\d?))?", part)
        if match is None:
            return False
        bounds = [int(number) for number in match.groups()[:2] if number is not None]
        if bounds != sorted(bounds) or not all(legal[0] <= number <= legal[1] for number in bounds):
            return False
    return True


class Catalog:
    """The domains that can run, in the order of the file, and why the others cannot.

    A broken domain is not a removed one: what it has anywhere stays as it is and waits until its entry is mended.

    Attributes:
        broken: What is wrong, by the name of the domain.
    """

    def __init__(self, domains: list[Domain], broken: Mapping[str, str] | None = None) -> None:
        self._domains = {domain.name: domain for domain in domains}
        self.broken = dict(broken or {})

    def __iter__(self) -> Iterator[Domain]:
        return iter(self._domains.values())

    def __len__(self) -> int:
        return len(self._domains)

    def __contains__(self, name: str) -> bool:
        return name in self._domains

    @property
    def names(self) -> list[str]:
        """The names of the domains that can run."""
        return list(self._domains)

    @property
    def with_source(self) -> list[Domain]:
        """The domains that have a producer."""
        return [domain for domain in self if domain.source is not None]

    def __getitem__(self, name: str) -> Domain:
        if name in self.broken:
            raise ConfigurationError(f"Domain `{name}` cannot run. {self.broken[name]}")
        try:
            return self._domains[name]
        except KeyError:
            raise ConfigurationError(
                f"There is no domain `{name}`. Known are {', '.join(f'`{n}`' for n in self._domains)};"
                " a new one is an entry in domains.yaml and a package."
            ) from None

    def checked(self, check: Callable[[Domain], object]) -> Catalog:
        """Return the catalog in which each domain that fails a check is broken, whatever it fails with."""
        domains, broken = [], dict(self.broken)
        for domain in self:
            try:
                check(domain)
                domains.append(domain)
            except Exception as error:  # a domain's package may raise anything, and the others must go on
                broken[domain.name] = _said(domain.name, error)
        return Catalog(domains, broken)

    def require_whole(self) -> Catalog:
        """Return the catalog if every domain can run.

        Raises:
            ConfigurationError: one cannot; the message has all of them.
        """
        if self.broken:
            raise ConfigurationError("\n".join(self.broken.values()))
        return self


def configured_catalog(settings: Settings) -> Catalog:
    """Return the domains as this process's settings have them: whatever runs takes them from here.

    Raises:
        ConfigurationError: see `load_catalog`.
    """
    return load_catalog(settings.domains_file, settings.partitions_start_date)


def load_catalog(path: Path, not_before: date | None = None) -> Catalog:
    """Read `domains.yaml` and check every entry and contract.

    A mistake in an entry concerns its own domain, and two domains that would share a place are both concerned; the
    others run, see `Catalog.broken`. The file's folder and its parent are importable afterwards, so that a package
    beside the file can be a plugin.

    Args:
        not_before: Where a domain begins whose own start date is earlier.

    Raises:
        ConfigurationError: the file is missing or no list of domains, or no domain of it can run: then file, domain
            and key of the first mistake, and what is legal.
    """
    try:
        entries, unreadable = read_entries(path, "domains")
    except FileNotFoundError:
        raise ConfigurationError(f"`{path}` does not exist. Set `DOMAINS_FILE` to the list of domains.") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"`{path}` is not YAML: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"`{path}`: {error}.") from None
    for folder in (path.resolve().parent, path.resolve().parent.parent):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    broken = {name: f"`{path}`, domain `{name}`: {error}." for name, error in unreadable.items()}
    domains = []
    for name, entry in entries.items():
        try:
            domains.append(_domain(path, name, entry))
        except Exception as error:  # importing the parents of a package may raise anything
            broken[name] = _said(name, error)
    for name, other, key, place in shared_places(entries):
        text = (
            f"`{path}`: `{key}` `{place}` is used by domains `{other}` and `{name}`, or lies within the other's; it"
            " must be unique. Neither of them runs until one has a place of its own."
        )
        broken.setdefault(name, text)
        broken.setdefault(other, text)
    if not_before is not None:
        domains = [d.model_copy(update={"start_date": max(d.start_date, not_before)}) for d in domains]
    catalog = Catalog([domain for domain in domains if domain.name not in broken], broken)
    if broken and not len(catalog):
        raise ConfigurationError(next(iter(broken.values())))
    return catalog


def owned_places(path: Path) -> set[tuple[str, str]]:
    """Return key and place of everything that the entries of a file name, those with a mistake included.

    Raises:
        YAMLError, ValueError, FileNotFoundError: as of `read_entries`.
    """
    entries, unreadable = read_entries(path, "domains")
    return {owned for name, entry in {**dict.fromkeys(unreadable), **entries}.items() for owned in places(name, entry)}


def _said(name: str, error: Exception) -> str:
    if isinstance(error, ConfigurationError):
        return error.message
    return f"Domain `{name}`: {type(error).__name__}: {error}."


def _domain(path: Path, name: str, entry: object) -> Domain:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"`{path}`, domain `{name}`: must be a mapping of keys.")
    plugin = str(entry.get("plugin", f"domains.{name}"))
    try:
        domain = Domain.model_validate(
            {**_with_default_places(name, entry), "plugin": plugin, "folder": _package_folder(path, name, plugin)}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # pydantic names the kind of a source as if it were a key.
        location = [str(part) for n, part in enumerate(first["loc"]) if n != 1 or part not in sources.KINDS]
        key = ".".join(location) or "entry"
        raise ConfigurationError(
            f"`{path}`, domain `{name}`, key `{key}`: {first['msg'].removeprefix('Value error, ')}."
        ) from None
    for key, what in mistakes(domain):
        raise ConfigurationError(f"`{path}`, domain `{name}`, key `{key}`: {what}.")
    return domain


def _with_default_places(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    defaults = default_places(name)
    blocks = {
        key: {**defaults[key], **entry[key]}
        for key in ("topic", "bronze", "silver")
        if isinstance(entry.get(key), dict)
    }
    return {"warehouse_schema": defaults["warehouse_schema"], **entry, **blocks, "name": name}


def _package_folder(path: Path, name: str, plugin: str) -> Path:
    try:
        spec = importlib.util.find_spec(plugin)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            f"`{path}`, domain `{name}`: there is no package `{plugin}`. Add a folder with contract.json,"
            " transform.py, aggregation.py, gold.yaml and an empty __init__.py, or set `plugin` to its dotted path."
        )
    return Path(next(iter(spec.submodule_search_locations)))
