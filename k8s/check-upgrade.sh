#!/usr/bin/env bash
# Before an upgrade, beside all that runs: k8s/check-upgrade.sh k8s/overlays/production
# Runs --migrate --check of the images that the overlay names, in a Job a program: which migrations are to come, what they
# ask of tables with rows, and what would stop them. Changes nothing; ends with 1 when one has a problem.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/program-jobs.sh"

overlay=${1:?usage: k8s/check-upgrade.sh <folder of an overlay>}
manifests=$(kubectl kustomize "$overlay")
for name in $programs; do
  read_program "$name"
  image=$(awk -v wanted="$name" '
    /^---/ { kind = name = "" }
    /^kind: / { kind = $2 }
    /^  name: / && name == "" { name = $2 }
    /^ +(- )?image: / && kind == "Deployment" && name == wanted && !found { print $NF; found = 1 }' <<<"$manifests")
  [ -n "$image" ] || { printf '%s has no deployment %s.\n' "$overlay" "$name" >&2; exit 1; }
  check=${migrate/'"--migrate"'/'"--migrate","--check"'}
  check=${check/'"name":"migrate"'/'"name":"check"'}
  [[ $check =~ \"image\":\"[^\"]*\" ]]
  check=${check/"${BASH_REMATCH[0]}"/"\"image\":\"$image\""}
  # It has the labels by which it is let to the database, and by which callers find the program: so it is never ready.
  check="${check%\}},\"readinessProbe\":{\"tcpSocket\":{\"port\":8080}}}"
  add_job "check-upgrade-$name" 0 900 "$check"
done
run_jobs
if [ -n "$failed" ]; then
  printf 'Not to be upgraded before the problems above are solved:%s\n' "$failed" >&2
  exit 1
fi
printf 'Nothing stands in the way of the upgrade.\n'
