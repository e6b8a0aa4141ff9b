# For after-restore.sh and check-upgrade.sh: a Job a program, with what its Deployment gives its init container "migrate".
# No manifest could say it, because the names of ConfigMaps carry a hash.
namespace=crm
programs="contacts interactions campaigns billing-sync support gateway"
# How long a pod may wait for its image, a node or its admission, in seconds.
patience=${CRM_JOB_SECONDS:-600}
jobs=
objects=
items=

# read_program NAME: sets labels, account, security, volumes, and migrate, the container.
read_program() {
  local live
  live=$(kubectl get deployment "$1" --namespace $namespace --output 'jsonpath={.spec.template.metadata.labels}{"\n"}{.spec.template.spec.serviceAccountName}{"\n"}{.spec.template.spec.securityContext}{"\n"}{.spec.template.spec.volumes}{"\n"}{.spec.template.spec.initContainers[0]}{"\n"}')
  { read -r labels; read -r account; read -r security; read -r volumes; read -r migrate; } <<<"$live"
  [[ $migrate == *'"--migrate"'* ]] || { printf 'The deployment %s has no init container that migrates.\n' "$1" >&2; exit 1; }
}

# add_job NAME RETRIES SECONDS CONTAINER [INIT CONTAINER]: of the program that was read; after SECONDS the cluster ends it.
add_job() {
  jobs="$jobs $1"
  items="$items${items:+,}"$(cat <<JSON
{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"$1","namespace":"$namespace","labels":$labels},
 "spec":{"backoffLimit":$2,"activeDeadlineSeconds":$3,"template":{"metadata":{"labels":$labels},
  "spec":{"serviceAccountName":"$account","automountServiceAccountToken":false,"enableServiceLinks":false,"priorityClassName":"crm",
   "restartPolicy":"Never","securityContext":$security,"volumes":$volumes,
   "initContainers":[${5:-}],
   "containers":[$4]}}}}
JSON
  )
}

# add_object KIND NAME JSON: something that the jobs need, and that goes with them.
add_object() {
  objects="$objects $1/$2"
  items="$items${items:+,}$3"
}

# why_it_waits JOB: why its pod does not run yet, as its containers, the scheduler or the admission say; nothing when it runs.
why_it_waits() {
  local pods refused
  pods=$(kubectl get pods --namespace $namespace --selector "job-name=$1" --output 'jsonpath={range .items[*]}pod{"\n"}{.status.conditions[?(@.type=="PodScheduled")].message}{"\n"}{range .status.initContainerStatuses[*]}{.state.waiting.reason} {.state.waiting.message}{"\n"}{end}{range .status.containerStatuses[*]}{.state.waiting.reason} {.state.waiting.message}{"\n"}{end}{end}')
  if [ -z "$pods" ]; then
    refused=$(kubectl get events --namespace $namespace --field-selector "involvedObject.name=$1,reason=FailedCreate" --output 'jsonpath={range .items[*]}{.message}{"\n"}{end}')
    printf 'it has no pod. %s' "${refused##*$'\n'}"
  else
    # A container that waits for an init container that runs does not count.
    sed -e '/^pod$/d' -e '/^PodInitializing/d' -e '/^ *$/d' <<<"$pods"
  fi
}

# Runs the jobs to their end and prints what they say; sets failed to those that failed. None is left when the script ends,
# whatever ends it.
run_jobs() {
  local job waits said since started=$SECONDS
  trap 'remove_jobs || printf "These are to be deleted: jobs%s%s\n" "$jobs" "${objects:+,$objects}" >&2' EXIT
  trap 'exit 1' HUP INT TERM
  remove_jobs
  printf '{"apiVersion":"v1","kind":"List","items":[%s]}' "$items" | kubectl apply -f -
  failed=
  for job in $jobs; do
    said='' since=$started
    while :; do
      case $(kubectl get job "$job" --namespace $namespace --output 'jsonpath={.status.conditions[?(@.status=="True")].type}') in
        *Complete*) break ;;
        *Failed*)
          printf '%s: %s\n' "$job" "$(kubectl get job "$job" --namespace $namespace --output 'jsonpath={.status.conditions[?(@.type=="Failed")].message}')" >&2
          failed="$failed $job"
          break
          ;;
      esac
      waits=$(why_it_waits "$job")
      if [ -z "$waits" ]; then
        since=
      else
        since=${since:-$SECONDS}
        if [ "$waits" != "$said" ]; then
          printf '%s waits: %s\n' "$job" "$waits" >&2
          said=$waits
        fi
        if [ $((SECONDS - since)) -ge "$patience" ]; then
          printf '%s has not started in %s seconds (CRM_JOB_SECONDS) and is given up.\n' "$job" "$patience" >&2
          failed="$failed $job"
          break
        fi
      fi
      sleep 2
    done
    # Of a container that never ran there are none.
    kubectl logs --namespace $namespace --selector "job-name=$job" --all-containers --tail=-1 --prefix || :
  done
}

# Their pods have the labels of the programs, so they do not stay.
remove_jobs() {
  kubectl delete job $jobs --namespace $namespace --ignore-not-found || return
  [ -z "$objects" ] || kubectl delete $objects --namespace $namespace --ignore-not-found
}
