#!/usr/bin/env bash
# Before an upgrade, beside all that runs: k8s/check-upgrade.sh k8s/overlays/production
# Runs --migrate --check of the images that the overlay names, with the settings that it gives them, in a Job a program: which
# migrations are to come, what they ask of tables with rows, and what would stop them or the program after them, such as a
# setting that is missing. Changes nothing; ends with 1 when one has a problem.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/program-jobs.sh"

overlay=${1:?usage: k8s/check-upgrade.sh <folder of an overlay>}
manifests=$(kubectl kustomize "$overlay")

# document KIND NAME: that one of the manifests.
document() {
  awk -v kind="$1" -v name="$2" '
    function end() { if (k == kind && n == name) printf "%s", text; text = k = n = "" }
    /^---/ { end(); next }
    /^kind: / { k = $2 }
    /^  name: / && n == "" { n = $2 }
    { text = text $0 "\n" }
    END { end() }' <<<"$manifests"
}

# as_json FORMAT: a document in JSON, which no cluster is asked for; the label is what kubectl wants to be given.
as_json() { kubectl label --local --filename - --output "$1" crm.example.com/check-upgrade=true; }

# The ConfigMaps of the new manifests are not in the cluster yet. They are put there under other names, for as long as the Jobs.
maps=$(awk '/^---/ { kind = name = "" } /^kind: / { kind = $2 } /^  name: / && name == "" { name = $2; if (kind == "ConfigMap") print name }' <<<"$manifests")
rename=
for map in $maps; do
  copy=$(document ConfigMap "$map" | as_json json)
  add_object configmap "check-upgrade-$map" "${copy/"\"name\": \"$map\""/"\"name\": \"check-upgrade-$map\""}"
  rename="$rename;s/\"name\":\"$map\"/\"name\":\"check-upgrade-$map\"/g"
done

lacking=
for name in $programs; do
  read_program "$name"
  next=$(document Deployment "$name")
  [ -n "$next" ] || { printf '%s has no deployment %s.\n' "$overlay" "$name" >&2; exit 1; }
  next=$(as_json 'jsonpath={.spec.template.spec.volumes}{"\n"}{.spec.template.spec.initContainers[0]}{"\n"}{range .spec.template.spec.volumes[*]}{.secret.secretName}{"\n"}{range .projected.sources[*]}{.secret.name}{"\n"}{end}{end}' <<<"$next")
  { read -r volumes; read -r check; secrets=$(cat); } <<<"$next"
  [[ $check == *'"--migrate"'* ]] || { printf 'The deployment %s of %s has no init container that migrates.\n' "$name" "$overlay" >&2; exit 1; }
  # A pod would wait for it without a word.
  for secret in $secrets; do
    [ -n "$(kubectl get secret "$secret" --namespace $namespace --ignore-not-found --output name)" ] || lacking="$lacking\n$name: there is no secret $secret"
  done
  volumes=$(sed "$rename" <<<"$volumes")
  check=$(sed "$rename" <<<"$check")
  check=${check/'"--migrate"'/'"--migrate","--check"'}
  check=${check/'"name":"migrate"'/'"name":"check"'}
  # It has the labels by which it is let to the database, and by which callers find the program: so it is never ready.
  check="${check%\}},\"readinessProbe\":{\"tcpSocket\":{\"port\":8080}}}"
  add_job "check-upgrade-$name" 0 900 "$check"
done
if [ -n "$lacking" ]; then
  printf 'Not to be upgraded before these are made:%b\n' "$lacking" >&2
  exit 1
fi
run_jobs
if [ -n "$failed" ]; then
  printf 'Not to be upgraded before the problems above are solved:%s\n' "$failed" >&2
  exit 1
fi
printf 'Nothing stands in the way of the upgrade.\n'
