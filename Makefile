# `make` lists the targets. Each of them sets up what it needs first; that takes no time once it is done.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Workers in labs of their own, side by side: most of a test's time is spent waiting for hosts.
LABS ?= 2
SIDE_BY_SIDE := $(PYTEST) --dist loadfile --tx '$(LABS)*popen//python=lab/scripts/python-in-lab.sh'
IN_LAB := $(BIN)/python -m lab run --name test --here -- pytest
STACK ?=
# CI without namespaces sets tools.ci_setup, which omits the lab.
SETUP ?= lab.setup
# The program of GitLab's own registry, for the lab's hosts; Debian's without: docs/real-registry.md.
export GITLAB_REGISTRY ?=
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gitlab-geo-registry

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo lab lock test check static unit components lab-tests e2e bench format clean \
	reference subjects preview-comment preview-of-fork cloud-credentials apply import-registry status failover-check
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## everything the others need: Python packages, Debian packages, the Pulumi engine
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here, and Python 3.11 or newer is needed." \
		"Install it (sudo apt-get install python3), or name another: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m $(SETUP)

demo: setup ## two GitLab sites, one `pulumi up`, an image that arrives; STACK=dev, existing or replicated; default dev and replicated
	@$(BIN)/python -m lab demo $(STACK)

lab: setup ## a shell in which `pulumi up` works on two GitLab sites
	@$(BIN)/python -m lab shell

# One pytest for all of it, so that its closing line counts everything.
test: static ## everything: linters, types, unit, component, lab and end-to-end tests
	@$(SIDE_BY_SIDE) -x tests/unit tests/components tests/lab tests/e2e

check: export HYPOTHESIS_PROFILE ?= quick
check: static unit ## the quick part of `test`, a quarter of its examples: under 20 seconds

static: setup
	@echo "==> format, linter, types, words"
	@$(BIN)/ruff format --check --quiet --output-format concise .
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/codespell
	@/usr/bin/rubocop --format quiet hosts/gitlab_node

unit: setup ## unit tests, with the coverage of config/, plan/ and omnibus/; `.venv/bin/coverage report` names the lines it misses
	@$(PYTEST) --numprocesses 2 --dist loadfile --cov --cov-report= tests/unit

components: setup ## component tests: the program's resources, recorded
	@$(PYTEST) tests/components

lab-tests: setup ## tests of the lab itself
	@$(IN_LAB) tests/lab

e2e: setup ## end-to-end tests in a lab
	@$(IN_LAB) tests/e2e

reference: setup ## what is generated: docs/configuration.md and the schema for editors
	@$(BIN)/python -m tools.reference

BASE ?= main
subjects: ## commit subjects of at most 72 characters, of the commits since BASE; default main
	@$(PYTHON) -m tools.subjects '$(BASE)..HEAD'

NODES ?=
bench: setup ## the program beside Ansible and bare SSH, on 2 to 24 lab nodes, 12 minutes; NODES="2 6" for less
	@$(BIN)/python -m tools.interruptible benchmarks.__main__ $(NODES)

# The engine that setup chose, and .venv's Python for the program that it runs.
WITH_ENGINE = PATH="$(CURDIR)/$(BIN):$$($(BIN)/python -c 'from tools.engine import bin_dir; print(bin_dir())'):$$PATH"
PROJECT ?= .
POST ?=
REFRESH ?=
# make has no exit status of its own for "something changes": only a preview that failed fails.
preview-comment: setup ## what `pulumi up` would change, as merge requests show it; STACK=prod, REFRESH=1 looks for drift too
	@[ -z '$(STACK)' ] || echo "==> pulumi preview of $(STACK)" >&2
	@$(WITH_ENGINE) $(BIN)/python -m tools.interruptible tools.comment.__main__ --stack '$(STACK)' --project '$(PROJECT)' \
		$(if $(REFRESH),--refresh) $(if $(POST),--post); status=$$?; \
		echo "status $$status (0 no change, 2 a change, 3 a destructive one, 1 an error)" >&2; \
		case $$status in 0|2|3) ;; *) exit 1;; esac

preview-of-fork:
	@cat ci/forks.md

cloud-credentials: setup
	@$(BIN)/python -m tools.cloud_credentials

apply: setup ## `pulumi up` as the apply job runs it, without a question; STACK=prod
	@[ -n '$(STACK)' ] || { echo "Name the stack: make apply STACK=prod" >&2; exit 1; }
	@$(WITH_ENGINE) pulumi up --cwd '$(PROJECT)' --yes --non-interactive --stack '$(STACK)'

JSON ?=
DEEP ?=
HTML ?=
DIFFERENCES ?=
# make has one exit status for all that fails: the line says which it was.
status: setup ## whether nodes, registries and images are as they should be; STACK=prod, DEEP=1, DIFFERENCES=1, HTML=page.html, JSON=1
	@[ -n '$(STACK)' ] || { echo "Name the stack: make status STACK=prod" >&2; exit 1; }
	@$(WITH_ENGINE) $(BIN)/python -m tools.interruptible operations.status --stack '$(STACK)' --project '$(PROJECT)' \
		$(if $(DEEP),--deep) $(if $(JSON),--json) $(if $(HTML),--html '$(HTML)') $(if $(DIFFERENCES),--differences); status=$$?; \
		echo "status $$status (0 all well, 2 differences, 1 could not be determined)" >&2; exit $$status

TO ?=
failover-check: setup ## whether a secondary can become the primary, and the steps; STACK=prod TO=tokyo
	@[ -n '$(STACK)' ] && [ -n '$(TO)' ] || { echo "Name both: make failover-check STACK=prod TO=tokyo" >&2; exit 1; }
	@$(WITH_ENGINE) $(BIN)/python -m tools.interruptible operations.failover_check --stack '$(STACK)' --to '$(TO)' --project '$(PROJECT)'

SITE ?=
DRY_RUN ?=
GIVE_UP ?=
YES ?=
import-registry: setup ## imports a site's images into its metadata database; STACK=prod SITE=tokyo, DRY_RUN=1, GIVE_UP=1, YES=1
	@[ -n '$(STACK)' ] && [ -n '$(SITE)' ] || { echo "Name both: make import-registry STACK=prod SITE=tokyo" >&2; exit 1; }
	@$(WITH_ENGINE) $(BIN)/python -m tools.interruptible operations.import_registry --stack '$(STACK)' --site '$(SITE)' --project '$(PROJECT)' \
		$(if $(DRY_RUN),--dry-run) $(if $(GIVE_UP),--give-up) $(if $(YES),--yes)

UPGRADE ?=
# Not after setup, which fails until the lock file matches.
lock: ## constraints.txt and requirements.txt from pyproject.toml; UPGRADE=1 for the newest versions
	@$(PYTHON) -m tools.lock $(if $(UPGRADE),--upgrade)

format: setup ## formats the code
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

# Files of a lab's hosts belong to subordinate ids if a non-root user created them: only a user namespace
# can remove those.
clean: ## removes all that was made in this checkout (the engine stays in the user's cache)
	@rm -rf .lab 2>/dev/null || unshare --user --map-root-user --map-auto rm -rf .lab
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
	@find . -name __pycache__ -prune -exec rm -rf {} +
	@echo "clean; the engine stays in $(CACHE)"
