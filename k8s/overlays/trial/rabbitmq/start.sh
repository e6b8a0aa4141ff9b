#!/bin/sh
# Works on any image that has RabbitMQ and a shell: Debian's wrapper in PATH insists on a user called rabbitmq.
set -eu
umask 077
rm -f "$HOME/.erlang.cookie"
cp /var/run/secrets/rabbitmq/erlang-cookie "$HOME/.erlang.cookie"
chmod 400 "$HOME/.erlang.cookie"
server=/usr/lib/rabbitmq/bin/rabbitmq-server
[ -x "$server" ] || server=rabbitmq-server
# Erlang makes tables for as many files as it might open: under some container engines 1.6 GB of them.
limit=$(ulimit -n)
if [ "$limit" = unlimited ] || [ "$limit" -gt 65536 ]; then
  ulimit -n 65536
fi
exec "$server"
