#!/bin/sh
for bin in /usr/lib/postgresql/*/bin; do
  [ -d "$bin" ] && PATH="$bin:$PATH"
done
exec pg_isready --quiet --host 127.0.0.1 --timeout 2
