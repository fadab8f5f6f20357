"""Succeeds while Dagster's daemon ticks: each of its loops has written a heartbeat within the last two minutes."""

import sys

import psycopg2

from platform_core.settings import settings

LATE = "select count(*), max(now() at time zone 'utc' - timestamp) < '2 min' from daemon_heartbeats"
url = settings().dagster_postgres_url
if url is None:
    sys.exit("DAGSTER_POSTGRES_URL is not set")
with psycopg2.connect(url.get_secret_value(), connect_timeout=5) as connection, connection.cursor() as cursor:
    cursor.execute(LATE)
    beats, fresh = cursor.fetchone() or (0, False)
    sys.exit(0 if beats and fresh else 1)
