#!/bin/sh
# After an install or an upgrade, from any machine that reaches the gateway: k8s/smoke-test.sh https://crm.example.com
#
# Ready? Then a customer and a case of theirs are made and read, must be seen by the other services, and are erased from all.
# Prints the trace id of its calls; ends with 1 at the first step that fails, and still asks for the erasure of what it made.
#
# CRM_API_KEY, or the file that CRM_API_KEY_FILE names: a key with customers:*, erasures:*, cases:*, interactions:read,
# campaigns:read and billing:read, as the administrator's has. CURL_CA_BUNDLE: who signed the gateway's certificate.
set -eu

url=${1:?usage: k8s/smoke-test.sh <address of the gateway>}
url=${url%/}
key=${CRM_API_KEY:-}
[ -n "$key" ] || [ -z "${CRM_API_KEY_FILE:-}" ] || key=$(cat "$CRM_API_KEY_FILE")
[ -n "$key" ] || { echo 'CRM_API_KEY or CRM_API_KEY_FILE must be set.' >&2; exit 2; }
seconds=${CRM_SMOKE_SECONDS:-120}

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
trace=$(random 16)
work=$(mktemp -d)
customer=
erased=

# call METHOD PATH [BODY [HEADER]]: sets status, and the files answer and headers. The key is on no command line.
call() {
  printf 'header = "Authorization: Bearer %s"\nheader = "traceparent: 00-%s-%s-01"\n' "$key" "$trace" "$(random 8)" >"$work/config"
  [ -z "${3:-}" ] || printf 'header = "Content-Type: application/json"\n' >>"$work/config"
  [ -z "${4:-}" ] || printf 'header = "%s"\n' "$(printf %s "$4" | sed 's/["\\]/\\&/g')" >>"$work/config"
  status=$(printf %s "${3:-}" | curl --silent --show-error --max-time 20 --config "$work/config" --request "$1" ${3:+--data-binary @-} \
    --dump-header "$work/headers" --output "$work/answer" --write-out '%{http_code}' "$url/$2" 2>"$work/error") || status="no answer ($(cat "$work/error"))"
}

# id_of PREFIX: the first id of this kind in the answer.
id_of() { grep -o "\"id\" *: *\"$1_[0-9a-z]*\"" "$work/answer" | head -n 1 | sed 's/.*"\([^"]*\)"$/\1/'; }

fail() {
  echo "FAILED to $step: $1 answered $status" >&2
  cat "$work/answer" >&2 2>/dev/null && echo >&2
  echo "trace $trace" >&2
  exit 1
}

# until_true PATH CONDITION: asks until the condition holds of the answer.
until_true() {
  what=$1
  shift
  while :; do
    call GET "$what"
    ! "$@" || return 0
    [ "$(date +%s)" -lt "$deadline" ] || fail "GET $what"
    sleep 1
  done
}

erase() {
  call GET "v1/customers/$customer"
  etag=$(tr -d '\r' <"$work/headers" | sed -n 's/^[Ee][Tt][Aa][Gg]: *//p')
  call POST "v1/customers/$customer/erasures" '{"reason":"smoke test"}' "If-Match: $etag"
}

finish() {
  code=$?
  if [ -n "$customer" ] && [ -z "$erased" ]; then
    erase || true
    case $status in 2*) ;; *) echo "The customer $customer was made and is not erased." >&2 ;; esac
  fi
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

is_ok() { [ "$status" = 200 ]; }
all_parts_ok() { is_ok && [ "$(grep -o '"status" *: *"ok"' "$work/answer" | wc -l)" -ge 5 ]; }
has_case() { is_ok && grep -q "$case_id" "$work/answer"; }
is_completed() { is_ok && grep -q '"status" *: *"completed"' "$work/answer"; }
passed() { echo "ok: $step"; }

deadline=$(($(date +%s) + seconds))

step='find the gateway ready'
until_true health/ready is_ok
passed

step='create a customer'
# An address that nobody has, so that nobody is suspected to be the same; sent again under its key, it is made once.
body="{\"kind\":\"person\",\"given_name\":\"Smoke\",\"family_name\":\"Test $trace\",\"emails\":[{\"address\":\"$trace@smoke-test.invalid\"}],\"source\":{\"type\":\"enquiry\"}}"
while :; do
  call POST v1/customers "$body" "Idempotency-Key: $trace"
  case $status in
    201) break ;;
    5* | 'no answer'*) [ "$(date +%s)" -lt "$deadline" ] || fail 'POST v1/customers'; sleep 1 ;;
    *) fail 'POST v1/customers' ;;
  esac
done
customer=$(id_of cus)
[ -n "$customer" ] || fail 'POST v1/customers'
passed

step='read the customer'
call GET "v1/customers/$customer"
is_ok && grep -q "$trace@smoke-test.invalid" "$work/answer" || fail "GET v1/customers/$customer"
passed

step='ask all services for the customer'
until_true "v1/customers/$customer/overview" all_parts_ok
passed

step='open a case'
call POST v1/cases "{\"customer_id\":\"$customer\",\"type\":\"question\",\"subject\":\"Smoke test\"}" "Idempotency-Key: $trace-case"
[ "$status" = 201 ] || fail 'POST v1/cases'
case_id=$(id_of cas)
[ -n "$case_id" ] || fail 'POST v1/cases'
passed

step='see its event on the timeline of another service'
until_true "v1/customers/$customer/timeline" has_case
passed

step='erase the customer'
erase
case $status in 2*) erased=asked ;; *) fail "POST v1/customers/$customer/erasures" ;; esac
erasure=$(id_of ers)
[ -n "$erasure" ] || fail "POST v1/customers/$customer/erasures"
passed

step='have the receipts of all services for the erasure'
until_true "v1/erasures/$erasure" is_completed
passed

echo "All is well: trace $trace"
