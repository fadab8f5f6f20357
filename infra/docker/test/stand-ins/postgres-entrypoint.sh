#!/bin/bash
# The public image's entry point in short: initialise an empty data folder, run the scripts, become the server.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?}"
  initdb --username="${POSTGRES_USER:-postgres}" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") -A scram-sha-256 -E UTF8 --no-locale >/dev/null
  pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start >/dev/null
  export PGPASSWORD=$POSTGRES_PASSWORD PGUSER=${POSTGRES_USER:-postgres}
  for script in /docker-entrypoint-initdb.d/*.sh; do [ -e "$script" ] && bash "$script"; done
  pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
fi
exec "$@"
