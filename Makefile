# Every target runs on a Linux shell with Python 3.11 or 3.12, make and access to package registries; all else is
# installed below .venv and .platform.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)

DAYS ?= 3
EVENTS_PER_DAY ?= 50000
SEED ?= 7
# Which engine runs the Spark jobs; without it, what SPARK_ENGINE says.
ENGINE ?=
# Workers of a Spark cluster that runs them; without it, what SPARK_WORKERS says.
WORKERS ?=
# Where the lake is: folder, or s3 for a bucket of an S3 server that is started too.
STORE ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(STAMP): requirements.lock pyproject.toml
	@echo "Installing the locked Python packages into $(VENV) (about 1.9 GB, once)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) -V); the platform needs Python 3.11 or 3.12. Set PYTHON=/path/to/python3.11."; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync --compile-bytecode --require-hashes requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: $(STAMP) ## Install the Python packages, the JDK, Kafka, the registry, Postgres and the Delta jars
	@$(BIN)/python -m infra.embedded.toolchain

.PHONY: demo
demo: $(STAMP) ## The whole path, once: history → warehouse, a late correction, a report (DAYS, EVENTS_PER_DAY, SEED, ENGINE, WORKERS, STORE, KEEP=1)
	@exec $(BIN)/python -m infra.embedded demo $(if $(KEEP),--keep) --days $(DAYS) --events-per-day $(EVENTS_PER_DAY) --seed $(SEED) $(if $(ENGINE),--engine $(ENGINE)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(STORE),--store $(STORE))

.PHONY: up
up: $(STAMP) ## Start everything and stay: live producers, sink, Dagster UI; ends with Ctrl-C or `make down` (ENGINE, WORKERS, STORE)
	@exec $(BIN)/python -m infra.embedded up $(if $(ENGINE),--engine $(ENGINE)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(STORE),--store $(STORE))

.PHONY: down
down: $(STAMP) ## End what `make up` started
	@$(BIN)/python -m infra.embedded down

.PHONY: env
env: ## Write .env with new secrets for docker-compose.yml; what it has already stays
	@$(PYTHON) infra/docker/make_env.py

.PHONY: compose-test
compose-test: $(STAMP) env ## Build and start docker-compose.yml, prove it under faults; as root on Debian it installs what that needs
	@infra/docker/test/engine.sh start && infra/docker/test/engine.sh compose && infra/docker/test/engine.sh stand-ins
	@eval "$$(infra/docker/test/engine.sh env)" && $(BIN)/python -m pytest -v --timeout=3600 infra/docker/test

.PHONY: browser
browser: # The tests of the UI drive a real browser
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -qq -y chromium >/dev/null; } || \
	  { echo "Install Chromium or Chrome for the tests of the UI (Debian: sudo apt-get install chromium)."; exit 1; }

# Debian's package is unpacked, not installed: no service starts.
PROMETHEUS := .platform/prometheus
.PHONY: prometheus
prometheus: # The tests of alert rules and dashboards ask a real Prometheus and a real Alertmanager
	@{ command -v prometheus && command -v promtool && command -v amtool; } >/dev/null || \
	  test -x $(PROMETHEUS)/usr/bin/amtool || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && mkdir -p $(PROMETHEUS) && \
	    cd $(PROMETHEUS) && apt-get download -qq -o APT::Sandbox::User=root prometheus prometheus-alertmanager && \
	    for package in *.deb; do dpkg -x $$package . || exit 1; done && rm *.deb; } || \
	  { echo "Install what the tests of alert rules ask (Debian: sudo apt-get install prometheus" \
	    "prometheus-alertmanager)."; exit 1; }

.PHONY: test
test: $(STAMP) browser prometheus ## Run all tests, against real services, several groups at a time
	@$(BIN)/python -m tests.parallel

.PHONY: test-fast
test-fast: $(STAMP) ## Run the unit tests, and one record through every stage (3 minutes at most)
	@$(BIN)/python -m pytest -m "unit or fast" tests/unit tests/integration/test_one_record.py

.PHONY: bench
bench: $(STAMP) ## Measure a case beside its peers (CASE=day|day-sail|cluster|history|backfill|correction|sink|sink-memory|cdc|tick|years|latency|up, ROUNDS, EVENTS, PICTURE)
	@$(BIN)/python -m benchmarks $(or $(CASE),day) --rounds $(or $(ROUNDS),3) $(if $(EVENTS),--events $(EVENTS)) $(if $(PICTURE),--picture $(PICTURE))

.PHONY: aims
aims: $(STAMP) ## Show what the platform means to keep to, beside the results of the benchmark that are stored
	@$(BIN)/python -m benchmarks.aims

.PHONY: check
check: $(STAMP) ## Format, lint, types, import contracts, released contracts, advisories
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m producers check-contracts
	@$(BIN)/python -m infra.supply_chain check

.PHONY: advisories
advisories: $(STAMP) ## Ask what is known against dependencies; fails for what infra/supply_chain/known.toml does not explain
	@$(BIN)/python -m infra.supply_chain check --strict

.PHONY: sbom
sbom: $(STAMP) ## Write the bill of materials as CycloneDX JSON: .platform/sbom.cdx.json
	@mkdir -p .platform && $(BIN)/python -m infra.supply_chain sbom .platform/sbom.cdx.json

.PHONY: format
format: $(STAMP) ## Format and mend what can be mended by itself
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: lock
lock: ## Resolve pyproject.toml into requirements.lock, with hashes
	@$(BIN)/uv pip compile --quiet --all-extras --generate-hashes --no-emit-index-url --no-header --universal \
	  --python-version 3.11 --output-file requirements.lock pyproject.toml
