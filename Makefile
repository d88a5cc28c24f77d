# insituml: `make help` lists the targets.
# The newest that works (a shim may not, nor one without venv); `make PYTHON=...` names another. Where
# none does, the first that there is, to say what is wrong with it. Looked for once, when it is needed.
PYTHONS := python3.13 python3.12 python3.11 python3
there_are = $(foreach name,$(PYTHONS),$(shell command -v $(name) 2>/dev/null))
works = $(shell $(1) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(1))
PYTHON ?= $(eval PYTHON := $(firstword $(foreach one,$(there_are),$(call works,$(one))) $(there_are) python3))$(PYTHON)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Stages call `python`: let it be the environment's. No telemetry, whatever the user's settings.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" DVC_NO_ANALYTICS=1 MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=1
PORT ?= 5000
DOCS_PORT ?= 8000

# What the pipeline writes: results, which `dvc checkout` brings back, and where they are kept.
RESULTS := data runs timings evaluations results figures transit report.html
KEPT := mlruns mlflow.db .dvc/cache .dvc/tmp
SCRATCH := multirun .partial quality dvc_plots debug
# A baseline is of these.
LOCKED := dvc.lock .gitignore .dvc/config

.PHONY: help setup repro baseline test lint format docs docs-serve ui wheel constraints usage clean clean-all
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY) ## create .venv and install everything, exact versions

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON); install Python 3.11 or newer (on Debian and Ubuntu: python3 and python3-venv), or name one: make PYTHON=/path/to/python3.12 ..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) does not run, or is older than Python 3.11; install that or a newer one, or name one: make PYTHON=/path/to/python3.12 ..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "error: $(PYTHON) cannot make the environment $(VENV) (see above); on Debian and Ubuntu, install python3-venv"; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "error: the environment $(VENV) is not whole; remove it (rm -r $(VENV)) and run make again"; exit 2; }
	@echo "installing into $(VENV) (about 2 GB, a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

repro: $(READY) ## run the whole pipeline: data, training, evaluation, figures
	@$(RUN) dvc repro
	@echo
	@cat results/leaderboard.md
	@echo
	@echo "report:      report.html (all of it on one page)"
	@echo "figures:     figures/ (start with figures/leaderboard.png)"
	@echo "leaderboard: results/leaderboard.md, results/leaderboard.csv"
	@echo "runs:        make ui"

baseline: $(READY) ## commit the results' fingerprints, for dvc metrics diff and dvc exp
	@test -z "$$(git rev-parse --show-cdup 2>&1)" || { echo "error: this folder is no git clone; a baseline is a commit"; exit 2; }
	@test -f dvc.lock || { echo "error: no results yet; run make repro first"; exit 2; }
	@git diff --quiet HEAD -- . $(LOCKED:%=':!%') || { echo "error: a baseline is of committed files; commit these first:" $$(git diff --name-only HEAD -- . $(LOCKED:%=':!%')); exit 2; }
	@$(RUN) dvc repro --quiet versions
	@test "$$($(RUN) dvc status --json)" = '{"versions": ["always changed"]}' || { echo "error: results are not up to date (dvc status); run make repro first"; exit 2; }
	@$(RUN) dvc config core.no_scm false
	@grep -vx '/dvc\.lock' .gitignore > .gitignore.new && mv .gitignore.new .gitignore
	@git add $(LOCKED)
	@if git diff --cached --quiet -- $(LOCKED); then echo "the baseline is recorded already"; \
	else git commit --quiet --message "Record a baseline" -- $(LOCKED) && git log -1 --format='baseline: %h'; fi

test: $(READY) ## run the tests
	@$(RUN) pytest -n 2 --dist worksteal $(ARGS)

lint: $(READY) ## check style and types
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

format: $(READY) ## format the code
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

# Material says on each build that MkDocs 2 will not suit it; we stay below 2.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(READY) ## build the documentation site, warnings as errors; no network
	@$(RUN) mkdocs build --strict
	@echo "the site is in build/site: open build/site/index.html"

docs-serve: export NO_MKDOCS_2_WARNING = 1
docs-serve: $(READY) ## show the site on this machine only, and follow edits
	@echo "open http://127.0.0.1:$(DOCS_PORT) (Ctrl-C ends it)"
	@$(RUN) mkdocs serve --dev-addr 127.0.0.1:$(DOCS_PORT)

ui: $(READY) ## browse runs in the MLflow UI, on this machine only
	@$(RUN) python -m insituml_pipelines.ui --port $(PORT)

wheel: $(READY) ## build wheel and sdist into dist/
	@test -z "$$(git status --porcelain conf .dvc dvc.yaml .gitignore 2>/dev/null)" || { echo "error: what a wheel gives to every project is changed here; commit or undo it first:" $$(git status --porcelain conf .dvc dvc.yaml .gitignore); exit 2; }
	@$(RUN) python -m build --no-isolation --outdir dist

constraints: ## write the installed versions to constraints.txt
	@{ echo "# Exact versions of everything that make installs; written by \`make constraints\`."; $(BIN)/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt

usage: ## disk space of what the pipeline wrote; files linked twice count once
	@du -shc $(wildcard $(RESULTS) $(SCRATCH) $(KEPT))

clean: ## remove results; DVC's cache and the MLflow store stay, and their sizes are printed
	rm -rf $(RESULTS) $(SCRATCH)
	@test -z "$(wildcard $(KEPT))" || du -shc $(wildcard $(KEPT))
	@echo "kept the above: \`dvc checkout\` brings results back, \`make clean-all\` removes all"

clean-all: ## remove everything the pipeline wrote
	rm -rf $(RESULTS) $(SCRATCH) $(KEPT) mlflow.db-* .mlflow.lock
	@git ls-files --error-unmatch dvc.lock >/dev/null 2>&1 || rm -f dvc.lock
