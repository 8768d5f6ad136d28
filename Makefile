# Hauberk's commands. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X github.com/hauberk-mesh/hauberk/cli.buildVersion=$(VERSION)
TESTFLAGS ?=

.PHONY: help build demo test root-test lint gen soak bench bench-peers bench-handshake bench-handshake-clients fuzz clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

build: ## bin/hauberk, static, without cgo
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/hauberk ./cmd/hauberk

demo: build ## a small shop in a mesh on this machine, until Ctrl-C
	bin/hauberk demo

test: cc ## all tests that need no root, with the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 10m $(TESTFLAGS) ./...

# The race detector needs a C compiler. Root installs it; everybody else is told the package.
.PHONY: cc
cc:
	@command -v cc >/dev/null || command -v gcc >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing gcc and libc6-dev for the race detector" >&2; \
	    apt-get update -qq && apt-get install -y -qq gcc libc6-dev >/dev/null; \
	  else \
	    echo "make test needs a C compiler for the race detector: install your distribution's gcc and libc headers (Debian: apt-get install gcc libc6-dev)" >&2; exit 1; \
	  fi; }

root-test: ## the tests that need root: hosts as network namespaces
	HAUBERK_ROOT_TESTS=1 $(GO) test -count=1 -timeout 10m -v -run TwoHosts ./test/e2e

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

gen: ## regenerate what is generated (CI fails if that changes anything)
	$(GO) generate ./...

soak: build ## the long proofs: crashes, rotation and policy changes under load
	HAUBERK_SOAK=1 $(GO) test -count=1 -timeout 40m -v -run Soak ./controlplane/store/... ./test/e2e/...

bench: ## Go benchmarks of the request path and of a config push
	$(GO) test -run '^$$' -bench . -benchmem ./dataplane/... ./controlplane/... ./policy/... ./test/sim

bench-peers: build ## Hauberk beside HAProxy, nginx and Envoy, those that are on PATH (BENCHFLAGS="-w w1 -reps 5")
	$(GO) run ./bench -hauberk bin/hauberk $(BENCHFLAGS)

bench-handshake: build ## TLS handshakes: one core of Hauberk beside one of nginx, HAProxy and Envoy
	$(GO) run ./bench -hauberk bin/hauberk -w w3rsa,w3ec,w3mtls,hsrsa,hsmrsa,hsec,hsmec -peers nginx,haproxy,envoy,hauberk $(BENCHFLAGS)

# Newer versions need a newer Go.
K6     := go.k6.io/k6@v1.8.1
FORTIO := fortio.org/fortio@v1.63.0

bench-handshake-clients: build ## the same by Fortio and k6, 2,000 connections, batches on and off (installs both for the time)
	@bin=$$(mktemp -d) && trap 'rm -rf "$$bin"' EXIT && \
	  GOBIN=$$bin $(GO) install $(FORTIO) && GOBIN=$$bin $(GO) install $(K6) && \
	  PATH=$$bin:$$PATH $(GO) run ./bench -hauberk bin/hauberk -w fortio,k6 -peers hauberk-memory,hauberk -base hauberk-memory $(BENCHFLAGS)

fuzz: ## each fuzz target for a few seconds
	@for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$pkg/*_test.go | sed 's/func //'); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $${FUZZTIME:-5s} -fuzzminimizetime 10x $$pkg || exit 1; \
	  done; done

clean: ## remove what make made
	rm -rf bin
