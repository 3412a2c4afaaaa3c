# Tillandsia: everything that is built, checked and run from a clone.
# `make` or `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

MODULES := register shared syncserver
DIRS    := $(addsuffix /...,$(addprefix ./,$(MODULES)))

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION   := v1.9.0

TOOLS         := $(CURDIR)/.bin
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
GOVULNCHECK   := $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION)

REGISTER   := tillandsia/register/cmd/register
SYNCSERVER := tillandsia/syncserver/cmd/syncserver

# The store that the story runs over: sqlite or postgres.
STORE ?= sqlite

# Flags for `make test`, for instance TESTFLAGS='-run TestCluster -v', and
# the packages that it tests.
TESTFLAGS ?=
PACKAGES  ?= work

# Seconds that looking for known vulnerabilities may take.
VULN_LIMIT ?= 90

## Run

.PHONY: build
build: ## build both programs into bin/
	@mkdir -p bin
	go build -o bin/ $(REGISTER) $(SYNCSERVER)

.PHONY: run
run: build ## start a server and two registers with sample data
	@go build -o bin/ tillandsia/syncserver/cmd/demo
	@exec bin/demo

.PHONY: story
story: build setup-$(STORE) ## play the founding story (STORE=sqlite or postgres)
	@go build -o bin/ tillandsia/syncserver/cmd/story
	@exec bin/story -store $(STORE)

.PHONY: bench
bench: build setup-postgres ## measure against the limits of this machine
	@go build -o bin/ tillandsia/syncserver/cmd/bench
	@exec bin/bench

## Test

.PHONY: test
test: setup ## run all tests with the race detector
	go test -race -count=1 -p 2 -timeout 20m $(TESTFLAGS) $(PACKAGES)

.PHONY: check
check: check-format check-versions check-tidy check-vet lint check-cross check-vuln ## format, vet, lint, import rules, tidy, cross-compile
	@echo "check: everything is in order"

.PHONY: lint
lint: $(GOLANGCI_LINT) ## run the linters, import rules included
	$(GOLANGCI_LINT) config verify
	$(GOLANGCI_LINT) run $(DIRS)

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format all Go files
	$(GOLANGCI_LINT) fmt $(DIRS)

.PHONY: tidy
tidy: ## tidy the three modules
	for m in $(MODULES); do go -C $$m mod tidy; done

.PHONY: clean
clean: ## remove what was built, and the data of `make run`
	rm -rf bin .run

.PHONY: help
help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^## / { printf "\n%s\n", substr($$0, 4) } \
		/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The parts of check.

.PHONY: check-format
check-format: $(GOLANGCI_LINT)
	@files=$$(gofmt -l $(MODULES)); \
	if [ -n "$$files" ]; then echo "not formatted by gofmt (make fmt mends it):"; echo "$$files"; exit 1; fi
	$(GOLANGCI_LINT) fmt --diff $(DIRS)

.PHONY: check-versions
check-versions:
	@lines=$$(awk '$$1 == "go" || $$1 == "toolchain" { print $$1, $$2 }' go.work $(addsuffix /go.mod,$(MODULES)) | sort | uniq -c); \
	if [ "$$(awk '{ print $$1, $$2 }' <<<"$$lines")" != "4 go" ]; then \
		echo "go.work and the three go.mod must have the same go line and no toolchain line:"; echo "$$lines"; exit 1; fi

.PHONY: check-tidy
check-tidy:
	@for m in $(MODULES); do echo "go -C $$m mod tidy -diff"; \
		go -C $$m mod tidy -diff || { echo "$$m/go.mod is not tidy (make tidy mends it)"; exit 1; }; done

.PHONY: check-vet
check-vet:
	go vet work

# Without -o nothing is kept; both programs are still linked.
.PHONY: check-cross
check-cross:
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build $(REGISTER) $(SYNCSERVER)
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 go build $(REGISTER) $(SYNCSERVER)

# Known vulnerabilities fail the check (exit code 3). That the tool or its
# database is out of reach does not: the check is useful offline.
.PHONY: check-vuln
check-vuln:
	@out=$$(mktemp); code=0; \
	{ [ -x $(GOVULNCHECK) ] || $(MAKE) -s $(GOVULNCHECK); } >$$out 2>&1 && \
		timeout $(VULN_LIMIT) $(GOVULNCHECK) $(DIRS) >$$out 2>&1 || code=$$?; \
	case $$code in \
		0) echo "govulncheck: no known vulnerability is called" ;; \
		3) cat $$out; echo "govulncheck: known vulnerabilities are called" ;; \
		124) echo "govulncheck: not finished within $(VULN_LIMIT) s, left out" ;; \
		*) echo "govulncheck: its database is out of reach, left out" ;; \
	esac; rm -f $$out; [ $$code -ne 3 ]

# Pinned tools, in an ignored folder, outside the modules.

$(GOLANGCI_LINT):
	GOBIN=$(TOOLS)/$(@F).tmp go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv $(TOOLS)/$(@F).tmp/golangci-lint $@ && rmdir $(TOOLS)/$(@F).tmp

$(GOVULNCHECK):
	GOBIN=$(TOOLS)/$(@F).tmp go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	@mv $(TOOLS)/$(@F).tmp/govulncheck $@ && rmdir $(TOOLS)/$(@F).tmp

# What the tests need of the system. As root on Debian it is installed where
# it is missing; elsewhere a sentence says what to install.

.PHONY: setup
setup: setup-postgres setup-race setup-hledger

.PHONY: setup-sqlite
setup-sqlite:

.PHONY: setup-postgres
setup-postgres:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
		{ $(call install,postgresql,the server programs of PostgreSQL 15 or later); }

.PHONY: setup-race
setup-race:
	@command -v "$$(go env CC)" >/dev/null || \
		{ $(call install,gcc libc6-dev,a C compiler for the race detector); }

.PHONY: setup-hledger
setup-hledger:
	@command -v hledger >/dev/null || \
		{ $(call install,hledger,hledger to read the exported books); }

# $(call install,PACKAGES,WHAT IT IS)
install = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $(2): $(1)"; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq </dev/null && apt-get install -y -qq --no-install-recommends $(1) </dev/null >/dev/null; \
	else \
		echo "The tests need $(2). Install it and try again; on Debian: sudo apt-get install $(1)" >&2; exit 1; \
	fi
