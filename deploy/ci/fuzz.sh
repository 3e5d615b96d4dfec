#!/usr/bin/env bash
# Runs fuzz targets one after another, each for a time, and keeps what they found worth keeping in testdata/fuzz.
#   deploy/ci/fuzz.sh [DURATION] [PATTERN]     PATTERN is a regular expression on PACKAGE.TARGET
set -euo pipefail
duration=${1:-10m} pattern=${2:-.}
packages=(services/protocol/esp services/protocol/ah services/protocol/fragment services/protocol/ipwire
  services/protocol/spd services/protocol/transform services/protocol/ikewire
  agent/datapath agent/netio agent/manual agent/uplink)
most_files=40 most_bytes=65536 # of a target's corpus, in the repository

# keep copies new inputs of a target, the smallest first, into the package's testdata.
keep() {
  local package=$1 target=$2 cache kept total=0 count=0 size file
  cache=$(go env GOCACHE)/fuzz/$(go list "./$package")/$target
  kept=$package/testdata/fuzz/$target
  [ -d "$cache" ] || return 0
  mkdir -p "$kept"
  while read -r size file; do
    count=$((count + 1)) total=$((total + size))
    if [ "$count" -gt "$most_files" ] || [ "$total" -gt "$most_bytes" ]; then break; fi
    cp -n "$file" "$kept/"
  done < <(find "$cache" -type f -printf '%s %p\n' | sort -n)
}

failed=0
for package in "${packages[@]}"; do
  for target in $(go test -list '^Fuzz' "./$package" | grep '^Fuzz' || true); do
    [[ "$package.$target" =~ $pattern ]] || continue
    log=$(mktemp)
    status=0
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -parallel 1 "./$package" >"$log" 2>&1 || status=$?
    echo "fuzz: $package $target: $(grep -E '^fuzz: elapsed' "$log" | tail -n 1 | sed 's/^fuzz: //')"
    # Go sometimes ends the time with "context deadline exceeded" and no input that fails: that is no finding.
    if [ "$status" -ne 0 ] && ! { grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; }; then
      cat "$log"
      failed=1
    fi
    keep "$package" "$target"
    rm -f "$log"
  done
done
exit "$failed"
