# For after-restore.sh and check-upgrade.sh: a Job a program, with what its Deployment gives its init container "migrate".
# No manifest could say it, because the names of ConfigMaps carry a hash.
namespace=crm
programs="contacts interactions campaigns billing-sync support gateway"
jobs=
items=

# read_program NAME: sets labels, account, security, volumes, and migrate, the container.
read_program() {
  local live
  live=$(kubectl get deployment "$1" --namespace $namespace --output 'jsonpath={.spec.template.metadata.labels}{"\n"}{.spec.template.spec.serviceAccountName}{"\n"}{.spec.template.spec.securityContext}{"\n"}{.spec.template.spec.volumes}{"\n"}{.spec.template.spec.initContainers[0]}{"\n"}')
  { read -r labels; read -r account; read -r security; read -r volumes; read -r migrate; } <<<"$live"
  [[ $migrate == *'"--migrate"'* ]] || { printf 'The deployment %s has no init container that migrates.\n' "$1" >&2; exit 1; }
}

# add_job NAME RETRIES CONTAINER [INIT CONTAINER]: of the program that was read.
add_job() {
  jobs="$jobs $1"
  items="$items${items:+,}"$(cat <<JSON
{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"$1","namespace":"$namespace","labels":$labels},
 "spec":{"backoffLimit":$2,"template":{"metadata":{"labels":$labels},
  "spec":{"serviceAccountName":"$account","automountServiceAccountToken":false,"enableServiceLinks":false,"priorityClassName":"crm",
   "restartPolicy":"Never","securityContext":$security,"volumes":$volumes,
   "initContainers":[${4:-}],
   "containers":[$3]}}}}
JSON
  )
}

# Runs the jobs to their end and prints what they say; sets failed to those that failed.
run_jobs() {
  local job
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
}

# Their pods have the labels of the programs, so they do not stay.
remove_jobs() { kubectl delete job $jobs --namespace $namespace; }
