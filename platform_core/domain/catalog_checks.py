"""What must hold of domains.yaml before a process starts: places of a domain's own, and SQL that can be read.

Each check yields a key and what is wrong with it; reading the file and the types of a block belong to
`platform_core.domain.catalog`. A check that needs an engine or a service is none of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from platform_core.domain.topic_names import DLQ_PREFIX, PLATFORM_TOPICS
from platform_core.errors import ConfigurationError
from platform_core.lake.paths import METADATA, below, gold_table, key_versions_beside, quarantine_beside

if TYPE_CHECKING:
    from platform_core.domain.catalog import Domain

Complaint = tuple[str, str]

# https://docs.snowflake.com/en/sql-reference/reserved-keywords
_RESERVED_TEXT = (
    "account all alter and any as between by case cast check column connect connection constraint create cross"
    " current current_date current_time current_timestamp current_user database delete distinct drop else exists"
    " false following for from full grant group gscluster having ilike in increment inner insert intersect into is"
    " issue join lateral left like localtime localtimestamp minus natural not null of on or order organization"
    " qualify regexp revoke right rlike row rows sample schema select set some start table tablesample then to"
    " trigger true try_cast union unique update using values view when whenever where with"
)
RESERVED_WORDS = frozenset(_RESERVED_TEXT.split())
_SCHEMAS_OF_OTHERS = ("platform", "information_schema", "public")


def mistakes(domain: Domain) -> Iterator[Complaint]:
    """Yield (key, what is wrong) of an entry whose blocks have the right types."""
    yield from _reserved_names(domain)
    yield from _unknown_columns(domain)


def refuse_unreadable(domain: Domain) -> None:
    """Parse every SQL expression of an entry that is made for Silver or Gold, and look for its columns.

    Only processes that run SQL ask for this: the parser is large.

    Raises:
        ConfigurationError: an expression is none, or names a column that does not exist.
    """
    for key, what in _unreadable_sql(domain):
        raise ConfigurationError(f"domains.yaml, domain `{domain.name}`, key `{key}`: {what}.")


def default_places(name: str) -> dict[str, Any]:
    """Return the places of a domain whose entry does not name them, by block and key."""
    return {
        "topic": {"name": f"raw-{name}"},
        "bronze": {"bucket": "bronze", "prefix": name},
        "silver": {"bucket": "silver", "prefix": name},
        "gold": {"bucket": "gold"},
        "warehouse_schema": name.upper(),
    }


def shared_places(entries: Mapping[str, object]) -> Iterator[tuple[str, str, str, str]]:
    """Yield (domain, other domain, key, place) of each place that two domains would write to.

    Entries as the file has them: one with a mistake keeps its places, or another could write to them meanwhile.
    """
    owners: list[tuple[str, str, str]] = []
    for name, entry in entries.items():
        for key, place in places(name, entry):
            for other_key, other_place, other in owners:
                one, two = f"{place}/", f"{other_place}/"
                same_kind = key == other_key or {key[-7:], other_key[-7:]} == {".prefix"}
                if same_kind and other != name and (one.startswith(two) or two.startswith(one)):
                    yield name, other, key, place
            owners.append((key, place, name))


def places(name: str, entry: object) -> Iterator[Complaint]:
    """Yield key and place of what an entry names, or what it would have by default where it cannot be read."""
    defaults = default_places(name)
    given_keys = entry if isinstance(entry, dict) else {}

    def block(key: str) -> dict[str, Any]:
        given = given_keys.get(key)
        return {**defaults.get(key, {}), **(given if isinstance(given, dict) else {})}

    bronze, silver, gold, source = block("bronze"), block("silver"), block("gold"), block("source")
    yield "bronze.prefix", below(bronze["bucket"], bronze["prefix"])
    yield "silver.prefix", (table_of_silver := below(silver["bucket"], silver["prefix"]))
    yield "silver.prefix", quarantine_beside(table_of_silver)
    if silver.get("global_key"):
        yield "silver.prefix", key_versions_beside(table_of_silver)
    tables = gold.get("tables")
    for table in tables if isinstance(tables, dict) else ():
        yield "gold.prefix", gold_table(str(gold["bucket"]), str(gold.get("prefix") or ""), str(table))
        yield "gold.tables", str(table)
    yield "topic.name", str(block("topic")["name"])
    yield "warehouse_schema", str(given_keys.get("warehouse_schema", defaults["warehouse_schema"]))
    if source:
        yield "source.command", str(source.get("command") or name)


def _reserved_names(domain: Domain) -> Iterator[Complaint]:
    for layer in ("bronze", "silver", "gold"):
        if getattr(domain, layer).bucket == METADATA:
            yield f"{layer}.bucket", f"`{METADATA}` is the platform's own; choose another name"
    if domain.warehouse_schema.lower() in (*RESERVED_WORDS, *_SCHEMAS_OF_OTHERS):
        yield "warehouse_schema", f"`{domain.warehouse_schema}` is reserved in the warehouse; choose another name"
    if domain.topic.name in PLATFORM_TOPICS or domain.topic.name.startswith(DLQ_PREFIX):
        yield "topic.name", f"`{domain.topic.name}` is a topic of the platform; choose another name"
    for table, keys in domain.gold.tables.items():
        for name in (table, *keys):
            if name.lower() in RESERVED_WORDS:
                yield f"gold.tables.{table}", f"`{name}` is a reserved word of the warehouse; choose another name"


def _unknown_columns(domain: Domain) -> Iterator[Complaint]:
    for key in ("primary_key", "order_by", "z_order_by"):
        for name in getattr(domain.silver, key):
            if not _is_silver_column(domain, name):
                yield f"silver.{key}", _no_column(name)
    if domain.partition_key in domain.silver.z_order_by:
        yield "silver.z_order_by", f"`{domain.partition_key}` is the same in all rows of a date; leave it out"
    for kind, name in domain.subjects.items():
        if name not in domain.contract.by_name:
            yield f"subjects.{kind}", f"`{name}` is no property in `{domain.contract.path}`"
    if domain.silver.global_key and getattr(domain.source, "stamp", None) == domain.bronze.timestamp_col:
        yield "silver.global_key", "records are dated by their extraction, so that each key has a row on many dates"
    for table, keys in domain.gold.tables.items():
        if len(set(keys)) < len(keys):
            yield f"gold.tables.{table}", "a merge key occurs twice"


def _unreadable_sql(domain: Domain) -> Iterator[Complaint]:
    for number, rule in enumerate(domain.quality.rules):
        yield from _of_silver(domain, f"quality.rules.{number}.expression", rule.expression)
    for number, pair in enumerate(domain.gold.reconcile):
        yield from _of_silver(domain, f"gold.reconcile.{number}.silver", pair.silver)
        key, columns = f"gold.reconcile.{number}.gold", domain.gold_tables[pair.table].columns
        for name in _columns(key, pair.gold):
            if isinstance(name, tuple):
                yield name
            elif name not in columns:
                yield key, f"`{name}` is no column of `{pair.table}` in gold.yaml"
    if domain.quality.source is not None:
        for number, expression in enumerate(domain.quality.source.silver):
            yield from _of_silver(domain, f"quality.source.silver.{number}", expression)


def _of_silver(domain: Domain, key: str, expression: str) -> Iterator[Complaint]:
    for name in _columns(key, expression):
        if isinstance(name, tuple):
            yield name
        elif not _is_silver_column(domain, name):
            yield key, _no_column(name)


def _columns(key: str, expression: str) -> Iterator[str | Complaint]:
    """Yield the columns of a SQL expression, or the complaint that it is none."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(f"select {expression}", read="spark")
    except SqlglotError as error:
        yield key, f"`{expression}` is no SQL expression: {str(error).splitlines()[0]}"
        return
    if (
        not isinstance(tree, exp.Select)
        or len(tree.expressions) != 1
        or tree.args.get("from_")
        or tree.args.get("from")
    ):
        yield key, f"`{expression}` is not one SQL expression"
        return
    for column in tree.find_all(exp.Column):
        yield column.parts[0].name


def _is_platform_column(name: str) -> bool:
    if not name.startswith("_"):
        return False
    # Late: a producer checks its catalog too, and pyarrow is 12 MB that it needs for nothing.
    from platform_core.domain.bronze_schema import PLATFORM_COLUMNS

    return name in {field.name for field in PLATFORM_COLUMNS}


def _is_silver_column(domain: Domain, name: str) -> bool:
    if name in {*domain.contract.by_name, domain.partition_key, "record_hash"} or _is_platform_column(name):
        return True
    # What the package adds is known only when it runs, but then its name is written there.
    transform = domain.folder / "transform.py"
    return transform.is_file() and name in transform.read_text(encoding="utf-8")


def _no_column(name: str) -> str:
    return f"`{name}` is no column of Silver: neither contract.json nor transform.py has the name"
