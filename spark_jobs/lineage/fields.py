"""The columns that an expression can see, and how a name finds one of them.

Resolution of names is here, as Spark does it; what a relation does to its columns belongs to `relations`. A name that
could mean two columns with different sources has no answer:
https://spark.apache.org/docs/latest/sql-ref-name-resolution.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from platform_core.errors import PermanentError

_PART = re.compile(r"`((?:[^`]|``)+)`|([^.`]+)")


class LineageUnknownError(PermanentError):
    """The plan has something whose sources are not known: no lineage is better than a wrong one."""


def unknown(what: str, **facts: object) -> LineageUnknownError:
    """Return the error for a part of a plan that has no known lineage."""
    return LineageUnknownError(
        f"Column lineage is not known: {what}. Nothing but the catalog's lineage is missing; teach"
        " `spark_jobs.lineage` this construct, or write the domain's code without it.",
        **facts,
    )


@dataclass(frozen=True)
class Field:
    """One column of a relation.

    Attributes:
        name: Its name; None when the engine makes one up, as for `sum(x)` without an alias.
        sources: The source columns that its value is made of.
        qualifiers: Aliases of subqueries that it is visible through.
        plans: Ids of the plans that it comes from unchanged, which is what `df["x"]` asks for.
    """

    name: str | None
    sources: frozenset[str]
    qualifiers: frozenset[str] = frozenset()
    plans: frozenset[int] = frozenset()

    def is_named(self, name: str) -> bool:
        """Return whether this is the field's name; case does not matter to either engine."""
        return self.name is not None and self.name.casefold() == name.casefold()


@dataclass(frozen=True)
class Fields:
    """The columns of a relation, in order.

    Attributes:
        all: The columns.
        counted: What a count of the rows is made of: the keys of a grouped relation, because `count(*)` of groups is
            `count(distinct keys)`; nothing otherwise.
    """

    all: tuple[Field, ...]
    counted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, fields: Iterable[Field], counted: frozenset[str] = frozenset()) -> Fields:
        """Return fields in the order given."""
        return cls(tuple(fields), counted)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def has(self, name: str) -> bool:
        """Return whether a field has this name."""
        return any(field.is_named(name) for field in self)

    def of_plan(self, plan_id: int | None) -> list[Field]:
        """Return the fields that come from a plan unchanged; without a plan all."""
        return [field for field in self if plan_id is None or plan_id in field.plans]

    def resolve(self, parts: Sequence[str], plan_id: int | None = None) -> Field:
        """Return the field that a name means; of a nested field, a field of its last part's name.

        Args:
            parts: The name, split at its dots: qualifier or column first, nested fields after it.
            plan_id: The plan that the name was asked of, for `df["x"]`.

        Raises:
            LineageUnknownError: no field has the name, or several with different sources.
        """
        seen = self.of_plan(plan_id)
        depth = 2
        found = [field for field in seen if len(parts) > 1 and _is_qualified(field, parts[0], parts[1])]
        if not found:
            depth = 1
            found = [field for field in seen if field.is_named(parts[0])]
        name = ".".join(parts)
        if not found:
            raise unknown(f"no column `{name}` among {[field.name for field in self]}")
        if len({field.sources for field in found}) > 1:
            raise unknown(f"`{name}` is the name of {len(found)} columns")
        return found[0] if len(parts) == depth else Field(parts[-1], found[0].sources)


def _is_qualified(field: Field, qualifier: str, name: str) -> bool:
    return qualifier.casefold() in field.qualifiers and field.is_named(name)


def split_name(identifier: str) -> list[str]:
    """Return the parts of a name, of which those in backticks may contain dots."""
    return [quoted.replace("``", "`") or plain for quoted, plain in _PART.findall(identifier)]
