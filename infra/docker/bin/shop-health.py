"""Succeeds while the simulated shop works: its session asked the database something within the last minute."""

import sys

import psycopg2

from platform_core.settings import settings

QUESTION = (
    "select count(*) from pg_stat_activity where application_name = 'pdp-shop' and now() - state_change < '1 min'"
)

dsn = settings().postgres_dsn.get_secret_value()
with psycopg2.connect(dsn, connect_timeout=5) as connection, connection.cursor() as cursor:
    cursor.execute(QUESTION)
    sys.exit(0 if cursor.fetchone() == (1,) else 1)
