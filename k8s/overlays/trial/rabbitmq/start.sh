#!/bin/sh
# Works on any image that has RabbitMQ and a shell: Debian's wrapper in PATH insists on a user called rabbitmq.
set -eu
umask 077
rm -f "$HOME/.erlang.cookie"
cp /var/run/secrets/rabbitmq/erlang-cookie "$HOME/.erlang.cookie"
chmod 400 "$HOME/.erlang.cookie"
server=/usr/lib/rabbitmq/bin/rabbitmq-server
[ -x "$server" ] || server=rabbitmq-server
exec "$server"
