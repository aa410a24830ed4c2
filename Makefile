# Every way to build, test and try pgsyncd. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOLANGCI_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0

TOOLS := $(CURDIR)/bin/tools
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
GOVULNCHECK := $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION)/govulncheck

# Each test package runs PostgreSQL servers of its own: two at a time keep two cores busy.
TEST_PACKAGES_AT_ONCE ?= 2
TEST_TIMEOUT ?= 20m

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Install what tests need on Debian (PostgreSQL 15, gcc), or say what is missing
	@command -v go >/dev/null || { echo "missing: Go 1.26 or later, https://go.dev/dl/" >&2; exit 1; }
	@bin=/usr/lib/postgresql/15/bin; missing=(); \
	[[ -x $$bin/postgres ]] || missing+=(postgresql-15); \
	[[ -e /usr/share/postgresql/15/extension/hstore.control ]] || missing+=(postgresql-15); \
	[[ -x $$bin/psql && -x $$bin/pg_dump && -x $$bin/pg_basebackup ]] || missing+=(postgresql-client-15); \
	command -v gcc >/dev/null || missing+=(gcc libc6-dev); \
	command -v find >/dev/null || missing+=(findutils); \
	command -v ipcrm >/dev/null || missing+=(util-linux-extra); \
	if (( $${#missing[@]} == 0 )); then exit 0; fi; \
	wanted=$$(printf '%s\n' "$${missing[@]}" | sort -u | tr '\n' ' '); \
	if [[ $$(id -u) == 0 ]]; then sudo=(); elif sudo -n true 2>/dev/null; then sudo=(sudo); \
	else echo "missing Debian packages, and no right to install them; run as root: apt-get install $$wanted" >&2; exit 1; fi; \
	command -v apt-get >/dev/null || { echo "missing (by their Debian names): $$wanted" >&2; exit 1; }; \
	"$${sudo[@]}" apt-get -q update; \
	"$${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $$wanted

.PHONY: build
build: ## Build bin/pgsyncd, one static program
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/pgsyncd .

.PHONY: run
run: build ## Run the daemon; options in ARGS='--data-dir DIR …'
	bin/pgsyncd serve $(ARGS)

.PHONY: demo
demo: deps ## Show a synchronization from start to end on servers made for it; SIZE=, KEEP=
	SIZE='$(SIZE)' KEEP='$(KEEP)' go run ./testenv/demo

.PHONY: test
test: deps ## Run all tests with the race detector
	CGO_ENABLED=1 go test -race -p $(TEST_PACKAGES_AT_ONCE) -timeout $(TEST_TIMEOUT) ./...

.PHONY: test-versions
test-versions: deps ## Run the tests that need other PostgreSQL versions; fetches them
	go test -tags versions -run Versions -p 1 -timeout 60m ./...

.PHONY: soak
soak: deps ## Synchronize under load with faults at random; DURATION=10m SEED=
	DURATION='$(or $(DURATION),10m)' SEED='$(SEED)' go run ./testenv/soak

.PHONY: soak-compare
soak-compare: deps ## Compare again and again under load, with differences and kills; RUNS=200 WRITERS=64 SEED=
	RUNS='$(RUNS)' WRITERS='$(WRITERS)' SEED='$(SEED)' go run ./testenv/soakcompare

.PHONY: bench-copy
bench-copy: deps ## Measure a clone against other tools; SCALE=0.4 ROUNDS=3 ONLY=psql,native,pgsyncd
	@command -v pgcopydb >/dev/null || [[ -n '$(ONLY)' ]] || $(MAKE) bench-deps
	SCALE='$(SCALE)' ROUNDS='$(ROUNDS)' ONLY='$(ONLY)' go run ./testenv/bench copy

.PHONY: bench-apply
bench-apply: deps ## Measure the stream against native replication; SCALE=0.4 ROUNDS=3 ONLY=tpcb,delay
	SCALE='$(SCALE)' ROUNDS='$(ROUNDS)' ONLY='$(ONLY)' go run ./testenv/bench apply

.PHONY: bench-compare
bench-compare: deps ## Measure comparisons of values against other ways; SCALE=0.4 ROUNDS=3 ONLY=stream,pgsyncd
	SCALE='$(SCALE)' ROUNDS='$(ROUNDS)' ONLY='$(ONLY)' go run ./testenv/bench compare

.PHONY: bench-query
bench-query: deps ## Measure queries through the daemon against the same without it; SCALE=0.4 ROUNDS=3
	SCALE='$(SCALE)' ROUNDS='$(ROUNDS)' ONLY='$(ONLY)' go run ./testenv/bench query

.PHONY: bench-deps
bench-deps: ## Install pgcopydb, one of those measured against, on Debian
	@command -v apt-get >/dev/null || { echo "missing: pgcopydb, https://github.com/dimitri/pgcopydb; or leave it out with ONLY=" >&2; exit 1; }
	@if [[ $$(id -u) == 0 ]]; then sudo=(); else sudo=(sudo -n); fi; \
	"$${sudo[@]}" apt-get -q update; \
	"$${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install pgcopydb

.PHONY: check
check: lint vuln ## Check format, layering, lint and known vulnerabilities

.PHONY: lint
lint: $(GOLANGCI) ## Check format (gofumpt, gci), go vet, layering (depguard) and the other linters
	go vet -tags versions ./...
	$(GOLANGCI) run ./...

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Check for known vulnerabilities; needs vuln.go.dev
	@$(GOVULNCHECK) ./... || { code=$$?; \
		[[ $$code == 3 ]] || echo "govulncheck could not check anything (exit $$code); it needs the database at https://vuln.go.dev" >&2; \
		exit $$code; }

.PHONY: format
format: $(GOLANGCI) ## Format the source
	$(GOLANGCI) fmt ./...

.PHONY: fuzz
fuzz: ## Fuzz every decoder and parser for a while; FUZZTIME=10s
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go | while read -r target; do \
			echo "$$dir $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime '$(or $(FUZZTIME),10s)' $$dir </dev/null; \
		done; \
	done

.PHONY: servers
servers: ## Fetch PostgreSQL servers and clients into the cache; VERSIONS="10 16 client-18"
	go run ./testenv/fetch $(or $(VERSIONS),9.5 9.6 10 11 12 13 14 15 16 17 18 client-17 client-18)

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist

$(GOLANGCI):
	GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

$(GOVULNCHECK):
	GOBIN=$(@D) go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
