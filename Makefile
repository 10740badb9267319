# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= python3
# Any one requirement that pip takes: another version, a build for CPU only, a wheel's path.
TORCH ?= torch==2.13.0
RUN ?= runs/tiny
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# torch has its own line above, so that TORCH and the constraints cannot contradict each other.
PINS := $(VENV)/constraints.txt
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 $(BIN)/python -m pip install
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

LLAMACPP := $(wildcard $(VENV)/lib/python*/site-packages/llama_cpp/__init__.py)

# Without Chromium, or without llama.cpp (some minutes of building), their tests are left out and the
# last line says so; CI must have both.
MISSING := $(if $(CHROMIUM)$(CI),,browser) $(if $(LLAMACPP)$(CI),,llamacpp)
MARKERS := $(if $(strip $(MISSING)),-m "not ($(subst browser llamacpp,browser or llamacpp,$(strip $(MISSING))))")
CLOSING := all checks passed$(if $(findstring browser,$(MISSING)),; browser tests left out for want of Chromium (Debian: apt-get install chromium))$(if $(findstring llamacpp,$(MISSING)),; llama.cpp tests left out (.venv/bin/pip install llama-cpp-python))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test dev format clean

help:
	@echo "make demo    set up .venv, train a chat model from raw text into $(RUN), show its report"
	@echo "make test    set up .venv, then format, lint, types, floors and all tests"
	@echo "make dev     set up .venv for development and nothing else"
	@echo "make format  format and mend what the linter can mend"
	@echo "make clean   remove .venv and caches; runs/ stays"
	@echo "variables    PYTHON=$(PYTHON) TORCH=$(TORCH) RUN=$(RUN) PYTEST_ARGS=$(PYTEST_ARGS)"

demo: $(VENV)/.base
	$(BIN)/arriero run tiny --run $(RUN)
	@echo
	@echo "The report is a file for your browser; to chat: $(BIN)/arriero chat $(RUN)"

test: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --warnings
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest $(MARKERS) $(PYTEST_ARGS)
	@echo "$(CLOSING)"

dev: $(VENV)/.dev

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The files .base and .dev say what is installed; a newer pyproject.toml or constraints.txt undoes
# them.
$(VENV)/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "arriero needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
	  { echo "Python made no virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV), some minutes the first time"
	@grep -v '^torch==' constraints.txt > $(PINS)
	$(PIP) -c $(PINS) '$(TORCH)'
	$(PIP) --quiet -c $(PINS) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) --quiet -c $(PINS) --editable '.[dev]'
	@touch $@
