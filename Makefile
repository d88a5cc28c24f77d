# insituml: `make help` lists the targets.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Stages call `python`: let it be the environment's. No telemetry, whatever the user's settings.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" DVC_NO_ANALYTICS=1 MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=1
PORT ?= 5000

.PHONY: help setup repro test lint format ui constraints clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY) ## create .venv and install everything, exact versions

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON); Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about 2 GB, a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

repro: $(READY) ## run the whole pipeline: data, training, evaluation, figures
	@$(RUN) dvc repro
	@echo
	@cat results/leaderboard.md
	@echo
	@echo "figures:     figures/ (start with figures/leaderboard.png)"
	@echo "leaderboard: results/leaderboard.md, results/leaderboard.csv"
	@echo "runs:        make ui, then open http://127.0.0.1:$(PORT)"

test: $(READY) ## run the tests
	@$(RUN) pytest -n 2 $(ARGS)

lint: $(READY) ## check style and types
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

format: $(READY) ## format the code
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

ui: $(READY) ## browse runs in the MLflow UI, on this machine only
	@test -f mlflow.db || { echo "error: no mlflow.db yet; run make repro first"; exit 2; }
	@echo "open http://127.0.0.1:$(PORT) (Ctrl-C ends it)"
	@$(RUN) mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $(PORT)

constraints: ## write the installed versions to constraints.txt
	@{ echo "# Exact versions of everything that make installs; written by \`make constraints\`."; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt

clean: ## remove what the pipeline wrote; DVC's cache and the MLflow store stay
	rm -rf data runs timings evaluations results figures transit multirun .partial
