"""What a domain's Gold tables and columns mean: the file `gold.yaml` of its package.

Only reading and checking it belongs here. Which tables there are and their merge keys is `domains.yaml`; how they are
computed is the package's `aggregation.py`, which needs Spark and so cannot be asked by whoever only shows the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from platform_core.domain.entry import Entry
from platform_core.domain.strict_yaml import read_yaml
from platform_core.errors import ConfigurationError

FILE = "gold.yaml"

NOT_A_COLUMN = frozenset(
    ["constraint", "current_date", "current_time", "current_timestamp", "current_user", "localtime", "localtimestamp"]
)
"""What Snowflake refuses as the name of a column even in quotes, or takes for a function."""


class GoldTable(Entry):
    """One table.

    Attributes:
        description: What a row is.
        columns: What each column means.
    """

    description: str = Field(min_length=1)
    columns: dict[str, str]


def load_gold_tables(domain: str, folder: Path, keys: Mapping[str, tuple[str, ...]]) -> dict[str, GoldTable]:
    """Read the descriptions of a domain's Gold tables.

    Args:
        domain: The domain's name.
        folder: Its package.
        keys: The merge keys by table, as domains.yaml has them.

    Raises:
        ConfigurationError: a table or a merge key has no description, or a table is described that does not exist.
    """
    path = folder / FILE

    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(
            f"Domain `{domain}`, `{path}`: {what}. Each table of `gold.tables` has a `description` there, and `columns`"
            " with a line for each column."
        )

    try:
        tables = {str(name): GoldTable.model_validate(table) for name, table in read_yaml(path).items()}
    except FileNotFoundError:
        raise wrong("the file is missing") from None
    except (yaml.YAMLError, AttributeError) as error:
        raise wrong(f"it is not a mapping of tables: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise wrong(f"key `{'.'.join(str(part) for part in first['loc'])}`: {first['msg']}") from None
    if different := set(keys) ^ set(tables):
        name = min(different)
        raise wrong(f"`{name}` is {'not described' if name in keys else 'described and no table of domains.yaml'}")
    for name, table in tables.items():
        for column in [*keys[name], *table.columns]:
            if not table.columns.get(column):
                raise wrong(f"column `{column}` of `{name}` is not described")
            if column.lower() in NOT_A_COLUMN:
                raise wrong(
                    f"column `{column}` of `{name}` is a word of SQL that the warehouse takes as no column's name"
                )
    return tables
