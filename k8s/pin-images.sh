#!/usr/bin/env bash
# Writes the digest of every image into overlays: k8s/pin-images.sh [--with TOOL] k8s/overlays/production k8s/observability
# From then on a tag that somebody moves changes nothing. Run it again after a tag was changed.
# An image in place of a folder is printed with its digest, for a setting of an operator.
#
# Asks the registries by crane, skopeo, docker (buildx) or curl, the first that is there, or by TOOL, with the credentials
# that it has; curl has those of ~/.netrc.
set -euo pipefail

usage() { printf 'usage: %s [--with crane|skopeo|docker|curl] <folder of an overlay, or image>...\n' "$0" >&2; exit 2; }

tool=
if [ "${1:-}" = --with ]; then
  tool=${2:-}
  shift 2 || usage
fi
[ $# -gt 0 ] || usage
for candidate in crane skopeo docker curl; do
  [ -z "$tool" ] || break
  command -v "$candidate" >/dev/null || continue
  [ "$candidate" != docker ] || docker buildx version >/dev/null 2>&1 || continue
  tool=$candidate
done

manifests='application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json'
manifests="$manifests, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

header() { awk -v name="$1" 'BEGIN { FS = ": *" } tolower($1) == name { sub(/^[^:]*: */, ""); value = $0 } END { print value }'; }
parameter() { sed -n "s/.*[, ]$1=\"\([^\"]*\)\".*/\1/p"; }

# The registry API of OCI: HEAD of the manifest, once more with a token if the registry wants one.
digest_by_curl() {
  local host=${1%%/*} path=${1#*/} scheme=https url answer status challenge scope token
  [ "$host" != docker.io ] || host=registry-1.docker.io
  case $host in localhost | localhost:* | 127.0.0.1 | 127.0.0.1:*) scheme=http ;; esac
  url="$scheme://$host/v2/${path%:*}/manifests/${path##*:}"
  answer=$(curl --silent --show-error --head --header "Accept: $manifests" "$url" | tr -d '\r')
  status=$(awk '/^HTTP\// { status = $2 } END { print status }' <<<"$answer")
  if [ "$status" = 401 ]; then
    challenge=$(header www-authenticate <<<"$answer")
    case $challenge in
      [Bb]earer\ *)
        scope=$(parameter scope <<<"$challenge")
        token=$(curl --silent --show-error --fail --netrc-optional --get --data-urlencode "service=$(parameter service <<<"$challenge")" \
          --data-urlencode "scope=${scope:-repository:${path%:*}:pull}" "$(parameter realm <<<"$challenge")" |
          tr -d '\n' | sed -n 's/.*"\(access_\)\{0,1\}token" *: *"\([^"]*\)".*/\2/p')
        # On standard input, where no list of processes shows it.
        answer=$(printf 'header = "Authorization: Bearer %s"\n' "$token" |
          curl --silent --show-error --head --config - --header "Accept: $manifests" "$url" | tr -d '\r')
        ;;
      *) answer=$(curl --silent --show-error --head --netrc --header "Accept: $manifests" "$url" | tr -d '\r') ;;
    esac
    status=$(awk '/^HTTP\// { status = $2 } END { print status }' <<<"$answer")
  fi
  [ "$status" = 200 ] || { printf 'HEAD %s answered %s.\n' "$url" "$status" >&2; return 1; }
  header docker-content-digest <<<"$answer"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
touch "$work/known"

# Sets digest; each image is asked for once.
find_digest() {
  digest=$(awk -v image="$1" '$1 == image { print $2 }' "$work/known")
  [ -z "$digest" ] || return 0
  case $tool in
    crane) digest=$(crane digest "$1") ;;
    skopeo) digest=$(skopeo inspect --format '{{.Digest}}' "docker://$1") ;;
    docker) digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1") ;;
    curl) digest=$(digest_by_curl "$1") ;;
    *) printf 'crane, skopeo, docker or curl is needed to ask the registry.\n' >&2; exit 1 ;;
  esac
  [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { printf '%s has no digest: %s\n' "$1" "$digest" >&2; exit 1; }
  printf '%s %s\n' "$1" "$digest" >>"$work/known"
}

# An entry of images: in a kustomization; a field of a workload, or of what an operator makes one of, that names a registry.
entry='^(.*newName:\ *)([^,\ ]+)(,\ *newTag:\ *)"?([^"@,\ }]+)(@sha256:[0-9a-f]+)?"?(.*)$'
field='^([\ -]*(image|imageName):\ *)"?([A-Za-z0-9._:-]+/[A-Za-z0-9._/-]+:[A-Za-z0-9._-]+)(@sha256:[0-9a-f]+)?"?\ *$'

# All digests first: a registry that does not answer leaves every file as it was.
number=0
for target in "$@"; do
  if [ ! -d "$target" ]; then
    image=${target%@sha256:*}
    find_digest "$image"
    continue
  fi
  while IFS= read -r file; do
    number=$((number + 1))
    while IFS= read -r line; do
      if [[ $line =~ $entry ]]; then
        before=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]} between=${BASH_REMATCH[3]} tag=${BASH_REMATCH[4]} after=${BASH_REMATCH[6]}
        find_digest "$name:$tag"
        line="$before$name$between\"$tag@$digest\"$after"
      elif [[ $line =~ $field ]]; then
        before=${BASH_REMATCH[1]} image=${BASH_REMATCH[3]}
        find_digest "$image"
        line="$before$image@$digest"
      fi
      printf '%s\n' "$line"
    done <"$file" >"$work/$number"
    printf '%s\n' "$file" >"$work/$number.name"
  done < <(find "$target" -name '*.yaml' -exec grep -lE '(newName|image|imageName): ' {} + | sort)
done

while [ "$number" -gt 0 ]; do
  file=$(cat "$work/$number.name")
  cmp -s "$work/$number" "$file" || cat "$work/$number" >"$file"
  number=$((number - 1))
done
sed 's/ /@/' "$work/known"
