#!/usr/bin/env bash
# The secrets of an installation as manifests on standard output: k8s/make-secrets.sh | kubectl apply -f -
#
#   k8s/make-secrets.sh              for overlays/trial: passwords, connection strings, broker users, keys
#   k8s/make-secrets.sh production   for overlays/production: keys only, its operators make the passwords
#
# What was made once is kept (readable by you alone) in the folder CRM_SECRETS_FOLDER, default ~/.crm-secrets/<overlay>:
# the same call gives the same secrets. Keep that folder safe, or throw it away and read the cluster's from then on.
set -euo pipefail
umask 077

overlay=${1:-trial}
case $overlay in
  trial | production) ;;
  *) printf 'usage: %s [trial | production]\n' "$0" >&2; exit 2 ;;
esac
namespace=crm
services="contacts interactions campaigns billing-sync support"
folder=${CRM_SECRETS_FOLDER:-$HOME/.crm-secrets/$overlay}
mkdir -p "$folder"

# kept NAME COMMAND...: the file, made by the command when it is not there.
kept() {
  local file="$folder/$1"
  shift
  if [ ! -s "$file" ]; then
    "$@" >"$file.new"
    mv "$file.new" "$file"
  fi
  cat "$file"
}

# 43 letters and digits carry 256 bits, and nothing that a connection string or URI would have to escape.
word() {
  local text
  text=$(openssl rand -base64 96 | tr -dc 'A-Za-z0-9')
  printf '%s' "${text:0:43}"
}
signing_key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt; }
admin_key() { printf 'sk_live_%s' "$(word)"; }
salt() { openssl rand 4; }

# RabbitMQ's rabbit_password_hashing_sha256: salt, then the digest of salt and password.
broker_hash() {
  kept "rabbitmq-$1.salt" salt >/dev/null
  { cat "$folder/rabbitmq-$1.salt"; cat "$folder/rabbitmq-$1.salt" "$folder/rabbitmq-$1" | openssl dgst -sha256 -binary; } | openssl base64 -A
}

# What a service declares, and binds or writes into, and reads: its own queues and events; and, since publishers make and bind
# their receivers' queues, and a binding writes to the one and reads the other exchange, the queues of its events' receivers
# (contracts/events/EventCatalog.cs). The exchanges of events, whose names end in a version, everybody declares and reads, to
# bind its own queues to them; into them writes only who publishes them, so that nobody speaks for another. The last kind of
# name is the queue of MassTransit's own that a process has for as long as it runs.
receivers() {
  case $1 in
    contacts) printf '%s' '(interactions|campaigns|billing-sync|support)\.customer-(copy|imports)|campaigns\.consent-mails' ;;
    interactions) printf '%s' 'campaigns\.customer-facts|contacts\.(merge|erasure)-receipts' ;;
    campaigns) printf '%s' 'interactions\.timeline|contacts\.(consent-statements|(merge|erasure)-receipts)' ;;
    billing-sync) printf '%s' 'interactions\.timeline|campaigns\.customer-facts|contacts\.(orders|(merge|erasure)-receipts)' ;;
    support) printf '%s' 'interactions\.timeline|campaigns\.customer-facts|contacts\.(merge|erasure)-receipts' ;;
  esac
}

# rights SERVICE EVENTS: a pattern of names, with the backslashes as JSON has them.
rights() { printf '^crm\.(%s\..*|%s%s)$|_bus_' "$1" "$2" "$(receivers "$1")" | sed 's/\\/\\\\/g'; }

# secret NAME, then lines "key<TAB>file" on standard input.
secret() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n  labels: { app.kubernetes.io/part-of: crm }\ntype: Opaque\ndata:\n' "$1" "$namespace"
  while IFS=$'\t' read -r key file; do
    printf '  %s: %s\n' "$key" "$(openssl base64 -A <"$file")"
  done
}

for name in $services gateway; do
  kept "key-$name" signing_key >/dev/null
done
kept admin-key admin_key >/dev/null

if [ "$overlay" = trial ]; then
  kept postgres word >/dev/null
  # Six programs of three pods at most, one more of each in an upgrade, and a connection a pod for its readiness: 384 of 400.
  for name in $services gateway; do
    kept "postgres-$name" word >/dev/null
    printf 'Host=postgres;Database=%s;Username=%s;Password=%s;Maximum Pool Size=15' \
      "${name//-/_}" "${name//-/_}" "$(cat "$folder/postgres-$name")" >"$folder/database-$name"
  done
  for name in $services; do
    kept "rabbitmq-$name" word >/dev/null
    printf 'amqp://%s:%s@rabbitmq:5672/crm' "$name" "$(cat "$folder/rabbitmq-$name")" >"$folder/bus-$name"
  done
  kept erlang-cookie word >/dev/null

  {
    printf '{"vhosts":[{"name":"crm"}],"users":['
    separator=
    for name in $services; do
      printf '%s{"name":"%s","password_hash":"%s","hashing_algorithm":"rabbit_password_hashing_sha256","tags":[]}' "$separator" "$name" "$(broker_hash "$name")"
      separator=,
    done
    printf '],"permissions":['
    separator=
    for name in $services; do
      events=$(rights "$name" '.*\.v[0-9]+|')
      printf '%s{"user":"%s","vhost":"crm","configure":"%s","write":"%s","read":"%s"}' "$separator" "$name" "$events" "$(rights "$name" '')" "$events"
      separator=,
    done
    printf '],"policies":[{"vhost":"crm","name":"crm","pattern":"^crm\\\\.","apply-to":"queues","definition":{"max-length":1000000,"overflow":"reject-publish"}}]}'
  } >"$folder/definitions.json"
fi

for name in $services gateway; do
  {
    printf 'Auth__PrivateKey\t%s\n' "$folder/key-$name"
    if [ "$overlay" = trial ]; then
      printf 'ConnectionStrings__Database\t%s\n' "$folder/database-$name"
      [ "$name" = gateway ] || printf 'Bus__Uri\t%s\n' "$folder/bus-$name"
    fi
    [ "$name" != gateway ] || printf 'Gateway__AdminKey\t%s\n' "$folder/admin-key"
  } | secret "crm-$name"
done

if [ "$overlay" = trial ]; then
  {
    printf 'postgres\t%s\n' "$folder/postgres"
    for name in $services gateway; do printf '%s\t%s\n' "${name//-/_}" "$folder/postgres-$name"; done
  } | secret postgres
  printf 'definitions.json\t%s\nerlang-cookie\t%s\n' "$folder/definitions.json" "$folder/erlang-cookie" | secret rabbitmq
fi

# Public halves: no secret.
printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: crm-trusted-keys\n  namespace: %s\n  labels: { app.kubernetes.io/part-of: crm }\ndata:\n' "$namespace"
for name in $services gateway; do
  printf '  %s.pem: |\n' "$name"
  openssl pkey -in "$folder/key-$name" -pubout | sed 's/^/    /'
done
