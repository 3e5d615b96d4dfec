# Sallyport. `make demo` shows it, `make test` proves it, `make lint` keeps it tidy.
GO      ?= go
TOOL    := $(GO) tool -modfile=deploy/ci/go.mod
BUF     := $(TOOL) buf
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)

.PHONY: all
all: build

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build sallyport-controller, sallyport-agent and sallyport into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sallyport-controller ./controller
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sallyport-agent ./agent
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sallyport ./controller/sallyport

.PHONY: setup
setup: ## Install, or name, the system packages that the demo and the tests need
	@deploy/ci/setup.sh

.PHONY: setup-demo
setup-demo:
	@deploy/ci/setup.sh demo

.PHONY: demo
demo: setup-demo build ## Three hosts, keyed by a controller, talking through ESP, in network namespaces
	bin/sallyport lab demo

.PHONY: test
test: setup ## All tests, end to end included (root; under 15 minutes on 2 cores)
	deploy/ci/test.sh

.PHONY: interop-kernel
interop-kernel: setup ## Debian's kernel in an emulator as peer: every case; writes deploy/docs/interop-kernel.md
	mkdir -p bin/interop
	INTEROP_KERNEL_REPORT=$(CURDIR)/deploy/docs/interop-kernel.md $(GO) test -count=1 -timeout 100m -v \
	  -run '^TestKernel$$' -artifacts -outputdir $(CURDIR)/bin/interop ./deploy/interop

.PHONY: interop-dns
interop-dns: ## IPSECKEY from zones that BIND signs, through unbound as validator, on loopback
	deploy/ci/setup.sh dns
	INTEROP_DNS=1 $(GO) test -count=1 -v -run '^TestUnbound$$' ./services/identity/pad/ipseckey

.PHONY: lint
lint: ## gofmt, vet, staticcheck, import fence, buf lint and breaking, generated files up to date
	deploy/ci/lint.sh

.PHONY: generate
generate: ## Generate Go from api/
	$(BUF) format -w api --path api/sallyport
	$(BUF) generate

.PHONY: release-image
release-image: ## Record the API as released: buf breaking compares with it
	$(BUF) build -o api/released.binpb

.PHONY: bench
bench: ## Benchmarks: the planner at 2,000 hosts, ESP in memory
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./services/protocol/plan
	$(GO) test -run '^$$' -bench . ./services/protocol/esp ./services/protocol/replay ./services/protocol/spd

.PHONY: bench-datapath
bench-datapath: build ## The datapath against wireguard-go and strongSwan (root; half an hour); BENCH=--help lists flags
	CGO_ENABLED=0 $(GO) build -modfile=deploy/ci/go.mod -trimpath -o bin/bench/wireguard-go golang.zx2c4.com/wireguard
	$(GO) build -o bin/bench/bench ./deploy/bench
	bin/bench/bench --report deploy/docs/benchmarks.md $(BENCH)

.PHONY: fuzz
fuzz: ## Every fuzz target of the datapath for FUZZTIME (10m) each, or those that match TARGETS; keeps the corpus
	deploy/ci/fuzz.sh '$(or $(FUZZTIME),10m)' '$(or $(TARGETS),.)'

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
