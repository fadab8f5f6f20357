"""Bronze as the sink writes it and as the Spark jobs read it: the same columns of the same types."""

from __future__ import annotations

from pyspark.sql.pandas.types import from_arrow_type

from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY
from sink.bronze import arrow
from spark_jobs import schema


def test_the_sink_and_the_jobs_have_the_same_columns() -> None:
    for domain in load_catalog(REPOSITORY / "domains" / "domains.yaml"):
        written = {field.name: from_arrow_type(field.type) for field in arrow.bronze_schema(domain.contract)}
        read = {field.name: field.dataType for field in schema.bronze_schema(domain.contract)}
        assert written == read and list(written) == list(read), domain.name
