#!/usr/bin/env bash
# kubectl apply -k that leaves the autoscalers their work: k8s/apply.sh k8s/overlays/production
# A Deployment's manifest asks for the two replicas that it needs at least. Applied as it stands it would take a program that
# was scaled to six back to two, under the load that it was scaled for; here it asks for as many as there are.
set -euo pipefail

overlay=${1:?usage: k8s/apply.sh <folder of an overlay>}
manifests=$(kubectl kustomize "$overlay")
# Nothing in a first install; a cluster that does not answer ends this here.
live=$(kubectl get deployments --namespace crm --output 'jsonpath={range .items[*]}{.metadata.name} {.spec.replicas} {end}')
awk -v live="$live" '
  BEGIN { n = split(live, word, " "); for (i = 1; i < n; i += 2) replicas[word[i]] = word[i + 1] }
  /^---/ { kind = name = "" }
  /^kind: / { kind = $2 }
  /^  name: / && name == "" { name = $2 }
  /^  replicas: / && kind == "Deployment" && replicas[name] + 0 > $2 + 0 {
    $0 = "  replicas: " replicas[name]
    print name " keeps its " replicas[name] " pods" >"/dev/stderr"
  }
  { print }' <<<"$manifests" | kubectl apply -f -
