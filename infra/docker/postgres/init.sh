#!/bin/bash
# Two databases and their users, made once when the volume is empty: `dagster` for the orchestrator, `pipeline_db` for the
# shop, whose rows the producers may only read.
set -euo pipefail
: "${DAGSTER_DB_PASSWORD:?}" "${SHOP_DB_PASSWORD:?}" "${READER_DB_PASSWORD:?}"
export PGUSER=${POSTGRES_USER:-postgres} PGDATABASE=postgres
psql -q -v ON_ERROR_STOP=1 <<'SQL'
\getenv dagster_password DAGSTER_DB_PASSWORD
\getenv shop_password SHOP_DB_PASSWORD
\getenv reader_password READER_DB_PASSWORD
create role dagster login password :'dagster_password';
create role shop login password :'shop_password';
create role reader login password :'reader_password';
-- Who holds a watermark back is in pg_stat_activity, where a user sees only itself otherwise.
grant pg_read_all_stats to reader;
create database dagster owner dagster;
create database pipeline_db owner shop;
revoke all on database dagster from public;
revoke all on database pipeline_db from public;
grant connect on database pipeline_db to reader;
\connect pipeline_db
alter default privileges for role shop grant select on tables to reader;
alter default privileges for role shop grant select on sequences to reader;
alter default privileges for role shop grant usage on schemas to reader;
grant usage on schema public to reader;
alter schema public owner to shop;
SQL
