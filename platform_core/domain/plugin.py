"""The plugin kit of a domain: the two base classes, and the loader that finds their implementations.

Framework code gets a domain's `Transform` and `Aggregation` only through here; it never imports a domain. The
signatures are the contract with people who write domains: change them only with a decision record.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from datetime import date
from typing import TYPE_CHECKING, Any

from platform_core.errors import ConfigurationError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from platform_core.domain.catalog import Domain


class BaseDomainTransform(ABC):
    """Turns Bronze rows into Silver rows, one for one."""

    @abstractmethod
    def transform(self, df: DataFrame, cfg: Domain) -> DataFrame:
        """Cast, parse and derive columns; never drop, join, multiply or aggregate rows.

        The columns of a row follow from that row alone, at any time. Where the plan proves that they do, few late rows
        of a date are judged by their keys; otherwise the date is processed as a whole.

        A value that cannot be parsed becomes NULL, and a rule in domains.yaml says so: the row is then
        quarantined with its reason. Deduplication, rules and `record_hash` are the framework's.

        Args:
            df: Contract columns typed as Bronze has them (nested ones as JSON text), the partition date, and the
                platform's columns, whose names begin with an underscore. Those must be passed on.
            cfg: The domain's entry in domains.yaml.

        Returns:
            The Silver columns, the partition date and the underscore columns.
        """


class BaseDomainAggregation(ABC):
    """Turns one date of Silver into that date of each Gold table."""

    @abstractmethod
    def aggregate(self, df: DataFrame, cfg: Domain, dt: date) -> DataFrame | dict[str, DataFrame]:
        """Aggregate one date.

        Args:
            df: The date's Silver rows.
            cfg: The domain's entry in domains.yaml; `cfg.gold.tables` has the merge keys.

        Returns:
            One DataFrame for the domain's only Gold table, or a dict of them by table name. Every merge key is a
            column, and a combination of merge keys occurs once.
        """


def load_transform(domain: Domain) -> BaseDomainTransform:
    """Return the domain's `Transform`.

    Raises:
        ConfigurationError: the module or the class is missing, or is not a `BaseDomainTransform`.
    """
    transform: BaseDomainTransform = _load(domain, "transform", "Transform", BaseDomainTransform)
    return transform


def load_aggregation(domain: Domain) -> BaseDomainAggregation:
    """Return the domain's `Aggregation`.

    Raises:
        ConfigurationError: the module or the class is missing, or is not a `BaseDomainAggregation`.
    """
    aggregation: BaseDomainAggregation = _load(domain, "aggregation", "Aggregation", BaseDomainAggregation)
    return aggregation


def _load(domain: Domain, module_name: str, class_name: str, base: Any) -> Any:
    dotted = f"{domain.plugin}.{module_name}"
    where = f"Domain `{domain.name}`, `{domain.folder / (module_name + '.py')}`"
    try:
        module = importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name != dotted:
            raise
        raise ConfigurationError(
            f"{where}: the file is missing. Add it with a class `{class_name}({base.__name__})`."
        ) from None
    plugin_class = getattr(module, class_name, None)
    if not isinstance(plugin_class, type) or not issubclass(plugin_class, base):
        raise ConfigurationError(f"{where}: needs a class `{class_name}({base.__name__})`, not {plugin_class!r}.")
    return plugin_class()
