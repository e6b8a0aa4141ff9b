#!/usr/bin/env bash
# Proves that the product builds and passes its tests as it would on a feed without gaps:
# packs the stand-ins, then restores, builds and tests a copy of the sources in which each stand-in is an ordinary package.
# Usage: eng/feed-gaps/prove.sh [test project ...]      default: tests/Contracts.Tests
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(tests/Contracts.Tests)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/packages" "$work/source"

# The files as they are now, committed or not; ignored ones (bin, obj) stay behind.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do [ -e "$f" ] && printf '%s\0' "$f"; done |
  tar -c --null -T - | tar -x -C "$work/source"
cd "$work/source"
export CRM_SHARED=${CRM_SHARED:-$(dirname "$root")/shared}
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1

echo "== packing the stand-ins"
ids=()
for p in eng/feed-gaps/*/*.csproj; do
  ids+=("$(basename "$p" .csproj)")
  dotnet pack "$p" -c Release -o "$work/packages" -v q
done

# Packages of its own: a stand-in must never enter the cache that normal builds use.
export NUGET_PACKAGES=$work/cache
complete=(-p:CompleteFeed=true "-p:RestoreAdditionalProjectSources=$work/packages")

echo "== restoring and building with CompleteFeed"
rm -rf eng/feed-gaps
dotnet restore Crm.Platform.sln -v q "${complete[@]}"
dotnet build Crm.Platform.sln --no-restore -v q -warnaserror "${complete[@]}"
echo "== testing"
for t in "${tests[@]}"; do
  dotnet test "$t" --no-build "${complete[@]}"
done
# What no project asks for proves nothing.
for p in "${ids[@]}"; do
  [ -d "$NUGET_PACKAGES/${p,,}" ] || { echo "$p was not restored as a package: nothing in the solution asks for it"; exit 1; }
done
echo "The product builds and passes with every package coming from a feed."
