# make demo   installs ablab into .venv and runs the recipe "addition"
# make test   runs the test suite            make check   linters, types, imports, docs and tests
# make test-types   tensor shapes and types, checked at every call
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: setup demo test test-all test-types lint types imports docs static check golden clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ablab needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv --clear $(VENV)
	@.ci/waiting "installing ablab and PyTorch into $(VENV), which takes minutes" \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/ablab run addition

test: $(STAMP)
	$(BIN)/pytest -n 2 -m "not slow and not compiled" --durations=10

test-all: $(STAMP)
	$(BIN)/pytest -n 2 --durations=20

# jaxtyping's annotations, checked by beartype at every call: modules that call most of them.
TYPED := tests/model tests/tasks
test-types: $(STAMP)
	ABLAB_TYPE_CHECKS=1 $(BIN)/pytest -n 2 -m "not slow and not compiled" $(TYPED)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/sphinx-build -W -n -q -b html docs docs/_build/html
	$(BIN)/python docs/gallery/build.py docs/_build/html/gallery
	@echo "docs/_build/html/index.html"

static: lint types imports docs

check: static test test-types

# The golden loss curves show that a refactoring changed no numbers. Only this command rewrites them.
golden: $(STAMP)
	$(BIN)/python -m tests.recipes.golden

clean:
	rm -rf $(VENV) docs/_build build dist
