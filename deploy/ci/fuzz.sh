#!/usr/bin/env bash
# Runs the datapath's fuzz targets one after another, each for a time, and keeps what they found worth keeping in
# the packages' testdata/fuzz, where `go test` runs it from then on.
#   deploy/ci/fuzz.sh [DURATION] [PATTERN]
# DURATION is that of one target, 10m if not given. PATTERN is a regular expression on PACKAGE.TARGET, like
# "esp.FuzzOpen$". The first target that fails ends the run, with status 1. FUZZ_KEEP_FILES and FUZZ_KEEP_BYTES bound a
# target's folder in testdata, old files included; 0 files keeps nothing new.
set -euo pipefail
cd "$(dirname "$0")/../.."
duration=${1:-10m} pattern=${2:-.}
most_files=${FUZZ_KEEP_FILES:-40} most_bytes=${FUZZ_KEEP_BYTES:-65536}
packages=(
  services/protocol/{esp,ah,fragment,ipwire,spd,replay,sad,transform,aesgcm,ikewire,ikekeys}
  services/identity/pad services/identity/pad/{dn,ipseckey,revocation}
  agent/{datapath,offload,netio,manual,uplink,capture,local}
)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# keep copies a target's new inputs from Go's cache into the package's testdata, the smallest first, while they fit.
keep() {
  local package=$1 target=$2 cache kept count=0 total=0 new=0 size file
  cache=$(go env GOCACHE)/fuzz/$(go list "./$package")/$target
  kept=$package/testdata/fuzz/$target
  [ -d "$cache" ] || return 0
  if [ -d "$kept" ]; then
    read -r count total < <(find "$kept" -type f -printf '%s\n' | awk '{ total += $1 } END { print NR, total + 0 }')
  fi
  while read -r size file; do
    [ ! -e "$kept/${file##*/}" ] || continue
    if [ "$count" -ge "$most_files" ] || [ "$((total + size))" -gt "$most_bytes" ]; then break; fi
    mkdir -p "$kept"
    cp "$file" "$kept/"
    count=$((count + 1)) total=$((total + size)) new=$((new + 1))
  done < <(find "$cache" -type f -printf '%s %p\n' | sort -n)
  echo "fuzz: $package $target: $new inputs are new in $kept, which has $count with $total bytes"
}

# only_out_of_time tells of a failed run that it has found nothing: up to Go 1.26 the end of the time itself is now and
# then reported as the target's failure, "context deadline exceeded", without an input (go.dev/issue/75804).
only_out_of_time() {
  grep -qE '^ +context deadline exceeded$' "$log" &&
    ! grep -qE 'Failing input written|failure while testing seed corpus|panic:|fatal error:|terminated unexpectedly' "$log"
}

# failed shows what a target's run said, and where the input lies.
failed() {
  local package=$1 target=$2 input
  cat "$log"
  input=$(sed -n 's/^ *Failing input written to //p' "$log" | head -n 1)
  if [ -n "$input" ]; then
    echo "fuzz: $package $target FAILED, on $package/$input; again: go test -run='^$target\$/^${input##*/}\$' ./$package"
  else
    echo "fuzz: $package $target FAILED, with no input written: what it said is above"
  fi
  exit 1
}

# wanted tells, without building anything, whether a package may have a target that matches.
wanted() {
  local package=$1
  { grep -ohE '^func Fuzz\w+' "$package"/*_test.go || true; } | sed "s#^func #$package.#" | grep -qE -- "$pattern"
}

run=0
for package in "${packages[@]}"; do
  [ -d "$package" ] || { echo "fuzz: there is no $package"; continue; }
  wanted "$package" || continue
  go test -list '^Fuzz' "./$package" >"$log" 2>&1 || { cat "$log"; echo "fuzz: $package has no working tests"; exit 1; }
  for target in $(grep '^Fuzz' "$log" || true); do
    [[ "$package.$target" =~ $pattern ]] || continue
    run=$((run + 1)) status=0
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -parallel 1 -timeout 0 "./$package" >"$log" 2>&1 || status=$?
    figures=$(sed -n '/execs:/s/^fuzz: elapsed: //p' "$log" | tail -n 1)
    echo "fuzz: $package $target: ${figures:-no executions but of the inputs there were}"
    if [ "$status" -ne 0 ]; then
      only_out_of_time || failed "$package" "$target"
      echo "fuzz: $package $target: Go reports the end of the time as a failure; there is no failing input"
    fi
    keep "$package" "$target"
  done
done
[ "$run" -gt 0 ] || { echo "fuzz: no target matches $pattern"; exit 1; }
echo "fuzz: $run targets ran for $duration each, none failed"
