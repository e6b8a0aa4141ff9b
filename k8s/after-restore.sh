#!/usr/bin/env bash
# Between the restore of the six databases and the next start of the programs: k8s/after-restore.sh
# Runs --migrate, then --after-restore (docs/backup.md says what it does), in a Job a program.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/program-jobs.sh"

# Beside a program that runs, queues would be emptied of what it has just published.
running=$(kubectl get pods --namespace $namespace --selector 'pod-template-hash,app.kubernetes.io/component in (service,gateway)' \
  --field-selector 'status.phase!=Succeeded,status.phase!=Failed' --output name)
if [ -n "$running" ]; then
  printf 'These run still; scale their deployments to 0, and wait:\n%s\n' "$running" >&2
  exit 1
fi

for name in $programs; do
  read_program "$name"
  main=${migrate/'"--migrate"'/'"--after-restore"'}
  main=${main/'"name":"migrate"'/'"name":"after-restore"'}
  # Migrations of a day are not cut short.
  add_job "after-restore-$name" 2 86400 "$main" "$migrate"
done
run_jobs
if [ -n "$failed" ]; then
  printf 'Failed, see above; correct the cause and run this again:%s\n' "$failed" >&2
  exit 1
fi
