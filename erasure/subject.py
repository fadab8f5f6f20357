"""Whose data is erased: a kind of subject, its identifier, and the domains that hold records of it.

Only names and values belong here; no layer is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from platform_core.domain.catalog import Catalog, Domain
from platform_core.domain.contract import ColumnType
from platform_core.errors import ConfigurationError, PermanentError


@dataclass(frozen=True)
class Holder:
    """A domain whose records name the subject.

    Attributes:
        column: The contract column that has the identifier.
        value: The identifier as the column has it.
    """

    domain: Domain
    column: str
    value: int | str

    @cached_property
    def _in_json(self) -> re.Pattern[bytes]:
        column, value = (re.escape(str(each).encode()) for each in (self.column, self.value))
        return re.compile(rb'"%s"\s*:\s*"?%s"?\s*[,}]' % (column, value))

    def rows_of(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return for each value of the holder's column whether it is the subject's."""
        return pc.fill_null(pc.equal(column, pa.scalar(self.value, column.type)), False)

    def names(self, key: bytes | None, value: bytes | None) -> bool:
        """Return whether a Kafka record is the subject's, also one whose value no contract accepts."""
        by_key = self.domain.topic.key == self.column and key == str(self.value).encode()
        return by_key or self._in_json.search(value or b"") is not None


def holders(catalog: Catalog, kind: str, identifier: str) -> list[Holder]:
    """Return the domains that hold records of a subject.

    Args:
        kind: A name under `subjects` in domains.yaml, for example `user`.
        identifier: What the person typed.

    Raises:
        PermanentError: no domain has subjects of this kind, or the identifier cannot be one.
        ConfigurationError: a domain is broken: nobody could say that it holds nothing of the subject.
    """
    catalog.require_whole()
    holding = [(domain, domain.subjects[kind]) for domain in catalog if kind in domain.subjects]
    if not holding:
        known = sorted({name for domain in catalog for name in domain.subjects})
        raise PermanentError(
            f"No domain has subjects of kind `{kind}`. Known are {', '.join(f'`{name}`' for name in known) or 'none'};"
            " `subjects` of a domain in domains.yaml says which of its columns names one.",
        )
    return [Holder(domain, column, _typed(domain, column, identifier)) for domain, column in holding]


def _typed(domain: Domain, column: str, identifier: str) -> int | str:
    declared = domain.contract.by_name.get(column)
    if declared is None or declared.type not in (ColumnType.INTEGER, ColumnType.STRING):
        raise ConfigurationError(
            f"Domain `{domain.name}`: `subjects` names `{column}`, which must be a property of type integer or string"
            f" in `{domain.contract.path}`.",
        )
    if declared.type is ColumnType.STRING:
        return identifier
    if not re.fullmatch(r"-?\d{1,18}", identifier):
        raise PermanentError(f"`{column}` of domain `{domain.name}` is an integer; this identifier is none.")
    return int(identifier)
