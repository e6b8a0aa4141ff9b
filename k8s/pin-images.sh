#!/usr/bin/env bash
# Writes the digest of every image into an overlay: k8s/pin-images.sh k8s/overlays/trial
# From then on a tag that somebody moves changes nothing. Run it again after a tag was changed. Asks the registry by
# crane, skopeo or docker, whichever is there, with the credentials that it has.
set -euo pipefail

overlay=${1:?usage: k8s/pin-images.sh <folder of an overlay>}
file="$overlay/kustomization.yaml"

digest_of() {
  if command -v crane >/dev/null; then
    crane digest "$1"
  elif command -v skopeo >/dev/null; then
    skopeo inspect --format '{{.Digest}}' "docker://$1"
  elif command -v docker >/dev/null; then
    docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1"
  else
    printf 'crane, skopeo or docker is needed to ask the registry.\n' >&2
    return 1
  fi
}

# All digests first: a registry that does not answer leaves the file as it was.
pinned=$(mktemp)
trap 'rm -f "$pinned"' EXIT
while IFS= read -r line; do
  if [[ $line =~ ^(.*newName:\ *)([^,\ ]+)(,\ *newTag:\ *)\"?([^\"@,\ }]+)(@sha256:[0-9a-f]+)?\"?(.*)$ ]]; then
    before=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]} between=${BASH_REMATCH[3]} tag=${BASH_REMATCH[4]} after=${BASH_REMATCH[6]}
    digest=$(digest_of "$name:$tag")
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { printf '%s:%s has no digest: %s\n' "$name" "$tag" "$digest" >&2; exit 1; }
    line="$before$name$between\"$tag@$digest\"$after"
    printf '%s:%s@%s\n' "$name" "$tag" "$digest"
  fi
  printf '%s\n' "$line" >>"$pinned"
done <"$file"
cat "$pinned" >"$file"
