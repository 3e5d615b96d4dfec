#!/usr/bin/env bash
# Everything that a reader should not have to look for. Runs from the root of the repository.
set -euo pipefail
tool() { go tool -modfile=deploy/ci/go.mod "$@"; }

echo "lint: gofmt"
unformatted=$(git ls-files '*.go' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
  echo "gofmt would change:" >&2
  echo "$unformatted" >&2
  exit 1
fi

echo "lint: go vet"
go vet ./...

echo "lint: go vet where there is no assembly"
go vet -tags purego ./services/protocol/...
GOARCH=arm64 go vet ./services/protocol/...

echo "lint: staticcheck"
tool staticcheck ./...

echo "lint: the command line builds for other systems"
GOOS=darwin go build -o /dev/null ./controller/sallyport
GOOS=windows go build -o /dev/null ./controller/sallyport

echo "lint: import fence"
go test -count=1 ./deploy/lint

echo "lint: buf"
tool buf lint
tool buf breaking --against api/released.binpb
tool buf format -d --exit-code api --path api/sallyport >/dev/null || {
  echo "buf format would change a .proto file: run make generate" >&2
  exit 1
}

echo "lint: generated files"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
tool buf generate -o "$fresh"
while IFS= read -r file; do
  cmp -s "$file" "$fresh/$file" || {
    echo "$file is out of date: run make generate" >&2
    exit 1
  }
done < <(git ls-files 'api/*.pb.go')
(cd "$fresh" && find api -name '*.pb.go') | while IFS= read -r file; do
  [ -f "$file" ] || {
    echo "$file is missing: run make generate" >&2
    exit 1
  }
done

echo "lint: modules"
go mod tidy -diff
echo "lint: ok"
