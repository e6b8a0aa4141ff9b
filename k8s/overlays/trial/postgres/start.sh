#!/bin/sh
# Makes the databases on the first start, then becomes the server. Works on any image that has PostgreSQL and a shell:
# Debian's packages keep the programs out of PATH.
set -eu
for bin in /usr/lib/postgresql/*/bin; do
  [ -d "$bin" ] && PATH="$bin:$PATH"
done
secrets=/var/run/secrets/postgres

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # Put in place when it is whole: a pod that is ended meanwhile begins anew.
  new="$PGDATA.new"
  rm -rf "$new"
  initdb --pgdata "$new" --username postgres --pwfile "$secrets/postgres" --encoding UTF8 --locale C.UTF-8 \
    --auth-local scram-sha-256 --auth-host scram-sha-256 --data-checksums
  echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
  for service in contacts interactions campaigns billing_sync support gateway; do
    printf '%s\n' \
      "CREATE ROLE $service LOGIN PASSWORD '$(cat "$secrets/$service")'" \
      "CREATE DATABASE $service OWNER $service" \
      "REVOKE ALL ON DATABASE $service FROM PUBLIC"
  done | postgres --single -D "$new" postgres >/dev/null
  mv "$new" "$PGDATA"
fi

# A checkpoint each gigabyte, the default, would write every page anew while an import runs; of the volume of 10 GiB it is less than half.
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c max_connections=400 -c max_wal_size=4GB \
  -c idle_in_transaction_session_timeout=60s -c password_encryption=scram-sha-256
