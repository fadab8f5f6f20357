"""SQL that a domain brings and DuckDB refuses: the same date meets it again, so it is permanent and named."""

from __future__ import annotations

import duckdb
import pytest

from platform_core.domain.catalog import load_catalog
from platform_core.errors import PermanentError
from platform_core.settings import REPOSITORY
from processing.one_date import sql_of_the_domain


@pytest.mark.parametrize("aggregate", ["sum(nope)", "sum((", "nofunction(1)", "cast('Jane' as integer)"])
def test_an_aggregate_that_cannot_be_computed_is_permanent(aggregate: str) -> None:
    domain = load_catalog(REPOSITORY / "domains" / "domains.yaml")["orders"]
    with (
        pytest.raises(PermanentError, match=r"Domain `orders`, `gold\.reconcile`") as caught,
        sql_of_the_domain(domain),
    ):
        duckdb.sql(f"select {aggregate} from range(3)").fetchall()
    assert "Jane" not in caught.value.message


def test_a_store_that_does_not_answer_is_not() -> None:
    domain = load_catalog(REPOSITORY / "domains" / "domains.yaml")["orders"]
    with pytest.raises(duckdb.IOException), sql_of_the_domain(domain):
        duckdb.sql("select * from '/nowhere/x.parquet'")
