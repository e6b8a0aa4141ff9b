#!/usr/bin/env bash
# Between the restore of the six databases and the next start of the programs: k8s/after-restore.sh
# Runs --migrate, then --after-restore (docs/backup.md says what it does), in a Job a program. A Job has what the program's
# Deployment gives its init container; no manifest could say it, because the names of ConfigMaps carry a hash.
set -euo pipefail

namespace=crm
programs="contacts interactions campaigns billing-sync support gateway"

# Beside a program that runs, queues would be emptied of what it has just published.
running=$(kubectl get pods --namespace $namespace --selector 'pod-template-hash,app.kubernetes.io/component in (service,gateway)' \
  --field-selector 'status.phase!=Succeeded,status.phase!=Failed' --output name)
if [ -n "$running" ]; then
  printf 'These run still; scale their deployments to 0, and wait:\n%s\n' "$running" >&2
  exit 1
fi

jobs=
items=
for name in $programs; do
  live=$(kubectl get deployment "$name" --namespace $namespace --output 'jsonpath={.spec.template.metadata.labels}{"\n"}{.spec.template.spec.serviceAccountName}{"\n"}{.spec.template.spec.securityContext}{"\n"}{.spec.template.spec.volumes}{"\n"}{.spec.template.spec.initContainers[0]}{"\n"}')
  { read -r labels; read -r account; read -r security; read -r volumes; read -r migrate; } <<<"$live"
  [[ $migrate == *'"--migrate"'* ]] || { printf 'The deployment %s has no init container that migrates.\n' "$name" >&2; exit 1; }
  main=${migrate/'"--migrate"'/'"--after-restore"'}
  main=${main/'"name":"migrate"'/'"name":"after-restore"'}
  jobs="$jobs after-restore-$name"
  items="$items${items:+,}"$(cat <<JSON
{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"after-restore-$name","namespace":"$namespace","labels":$labels},
 "spec":{"backoffLimit":2,"template":{"metadata":{"labels":$labels},
  "spec":{"serviceAccountName":"$account","automountServiceAccountToken":false,"enableServiceLinks":false,"priorityClassName":"crm",
   "restartPolicy":"Never","securityContext":$security,"volumes":$volumes,
   "initContainers":[$migrate],
   "containers":[$main]}}}}
JSON
  )
done

kubectl delete job $jobs --namespace $namespace --ignore-not-found
printf '{"apiVersion":"v1","kind":"List","items":[%s]}' "$items" | kubectl apply -f -

failed=
for job in $jobs; do
  while :; do
    case $(kubectl get job "$job" --namespace $namespace --output 'jsonpath={.status.conditions[?(@.status=="True")].type}') in
      *Complete*) break ;;
      *Failed*) failed="$failed $job"; break ;;
    esac
    sleep 2
  done
  kubectl logs --namespace $namespace --selector "job-name=$job" --all-containers --tail=-1 --prefix
done
if [ -n "$failed" ]; then
  printf 'Failed, see above; correct the cause and run this again:%s\n' "$failed" >&2
  exit 1
fi
# Their pods have the labels of the programs, so they do not stay.
kubectl delete job $jobs --namespace $namespace
