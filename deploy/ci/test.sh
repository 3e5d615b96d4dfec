#!/usr/bin/env bash
# All tests. Prints the number of skipped tests with their reasons, so that nothing is skipped unseen.
set -euo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
go test -timeout 14m -v "$@" ./... >"$log" 2>&1 || status=$?

# The packages' verdicts and, for a failure, everything that the failing tests said.
grep -E '^(ok|FAIL|panic:|---? FAIL)' "$log" || true
if [ "$status" -ne 0 ]; then
  echo "--- output of the failing packages (last 400 lines) ---"
  grep -vE '^\s*(=== |--- PASS|ok |\?)' "$log" | tail -n 400
fi
count() { grep -cE "^ *--- $1" "$log" || true; }
if [ "$(count SKIP)" -gt 0 ]; then
  echo "skipped, and why:"
  grep -B1 -E '^ *--- SKIP' "$log" | grep -v '^--$' || true # the reason stands before the verdict
fi
echo "$(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"
exit "$status"
