#!/usr/bin/env bash
# The secrets of an installation as manifests on standard output: k8s/make-secrets.sh | kubectl apply -f -
#
#   k8s/make-secrets.sh              for overlays/trial: passwords, connection strings, broker users, keys
#   k8s/make-secrets.sh production   for overlays/production: keys only, its operators make the passwords
#
# It asks the cluster of kubectl's context first. What is there already stays as it is, and only what is missing is made: a server
# keeps the passwords that it was first given, and programs trust the keys that they know. --new, behind the overlay, asks no
# cluster: for a first install whose secrets are made where no cluster can be reached.
#
# What was made or read is kept (readable by you alone) in the folder CRM_SECRETS_FOLDER, default ~/.crm-secrets/<overlay>:
# the same call gives the same secrets. Keep that folder safe, or throw it away: it is read from the cluster again.
set -euo pipefail
umask 077

overlay=${1:-trial}
case "$overlay ${2:-}" in
  'trial ' | 'production ' | 'trial --new' | 'production --new') ;;
  *) printf 'usage: %s [trial | production [--new]]\n' "$0" >&2; exit 2 ;;
esac
namespace=crm
services="contacts interactions campaigns billing-sync support"
folder=${CRM_SECRETS_FOLDER:-$HOME/.crm-secrets/$overlay}
mkdir -p "$folder"

# What the cluster has: lines "secret key value", the value in base64; of the public keys "--file", then its text.
live_secrets=
live_keys=
if [ "${2:-}" != --new ]; then
  if ! { live_secrets=$(kubectl get secrets --namespace $namespace --output 'go-template={{range .items}}{{$name := .metadata.name}}{{range $key, $value := .data}}{{$name}} {{$key}} {{$value}}{{"\n"}}{{end}}{{end}}') &&
    live_keys=$(kubectl get configmap crm-trusted-keys --namespace $namespace --ignore-not-found --output 'go-template={{range $key, $value := .data}}--{{$key}}{{"\n"}}{{$value}}{{"\n"}}{{end}}'); }; then
    printf '%s\n' 'The cluster cannot be asked which secrets it has, so none is made: new ones would end an installation that runs.' \
      "If this is a first install, and no cluster can be reached from here: $0 $overlay --new" >&2
    exit 1
  fi
fi

# of_cluster SECRET KEY: its content, or nothing.
of_cluster() { awk -v secret="$1" -v key="$2" '$1 == secret && $2 == key { printf "%s", $3 }' <<<"$live_secrets" | openssl base64 -d -A; }

# taken NAME: the content on standard input, as the cluster has it, becomes the file; nothing, when the cluster has none.
differing=
read_back=
taken() {
  local file="$folder/$1"
  cat >"$file.live"
  if [ ! -s "$file.live" ]; then
    rm -f "$file.live"
  elif [ ! -s "$file" ]; then
    mv "$file.live" "$file"
    read_back="$read_back $1"
  elif cmp -s "$file" "$file.live"; then
    rm -f "$file.live"
  else
    rm -f "$file.live"
    differing="$differing $1"
  fi
}

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
  taken "key-$name" < <(of_cluster "crm-$name" Auth__PrivateKey)
done
taken admin-key < <(of_cluster crm-gateway Gateway__AdminKey)
if [ "$overlay" = trial ]; then
  taken postgres < <(of_cluster postgres postgres)
  taken erlang-cookie < <(of_cluster rabbitmq erlang-cookie)
  for name in $services gateway; do
    taken "postgres-$name" < <(of_cluster postgres "${name//-/_}")
    taken "postgres-$name" < <(of_cluster "crm-$name" ConnectionStrings__Database | sed -n 's|.*;Password=\([^;]*\).*|\1|p' | tr -d '\n')
  done
  for name in $services; do
    taken "rabbitmq-$name" < <(of_cluster "crm-$name" Bus__Uri | sed -n 's|^amqp://[^:]*:\([^@]*\)@.*|\1|p' | tr -d '\n')
    taken "rabbitmq-$name.salt" < <(of_cluster rabbitmq definitions.json | tr '{' '\n' | sed -n "s|^\"name\":\"$name\",\"password_hash\":\"\([^\"]*\)\".*|\1|p" | openssl base64 -d | head -c 4)
  done
fi
[ -z "$read_back" ] || printf 'As the cluster has them:%s\n' "$read_back" >&2
if [ -n "$differing" ]; then
  printf '%s\n' "The cluster (context $(kubectl config current-context)) has others than $folder:$differing" \
    'Is it the right cluster? If what it has counts, because it was changed there, remove these files; if yours do, docs/secrets.md says how to change a secret.' >&2
  exit 1
fi

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
# Those that the cluster trusts besides stay: a key that is being replaced, or that has signed what is still shown (docs/secrets.md).
for name in $services gateway; do
  public=$(openssl pkey -in "$folder/key-$name" -pubout)
  known=$(awk -v file="--$name.pem" '/^--[a-z]/ { mine = $0 == file; next } mine && NF' <<<"$live_keys")
  printf '  %s.pem: |\n' "$name"
  case $known in
    *"$public"*) printf '%s\n' "$known" ;;
    *) printf '%s\n' "$public" ${known:+"$known"} ;;
  esac | sed 's/^/    /'
done
