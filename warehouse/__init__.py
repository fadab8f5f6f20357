"""Loading Gold into Snowflake, in Snowflake's SQL and through its own connector.

Nothing here knows Dagster; the connection is `warehouse.connection`.
"""
