# Batchyard: `make demo` and `make test` set up everything they need, from nothing, in a virtual environment of their own.

VENV := .venv
PYTHON := $(VENV)/bin/python
TEST_PROCESSES := 2
SOURCES := src tests benchmarks scripts examples

.PHONY: demo test lint format shapes docs lock bench clean help

help:
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 16

demo: $(VENV)/.demo ## run a real sweep on a server of its own, with boto3 alone
	@$(PYTHON) examples/digits_sweep/run.py

test: $(VENV)/.dev ## run every test (Debian packages that tests need are installed when they are missing)
	@scripts/install-test-packages
	$(PYTHON) -m pytest -n $(TEST_PROCESSES) --dist loadgroup $(PYTEST_ARGS)

lint: $(VENV)/.dev ## formatting, style, types, import contracts, generated files
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PYTHON) scripts/generate_shapes.py --check
	$(PYTHON) scripts/generate_command_line.py --check
	$(PYTHON) scripts/generate_compatibility.py --check

format: $(VENV)/.dev ## bring the code into shape
	$(VENV)/bin/ruff check --fix --quiet $(SOURCES)
	$(VENV)/bin/ruff format $(SOURCES)

shapes: $(VENV)/.dev ## generate the wire types from the installed botocore
	$(PYTHON) scripts/generate_shapes.py

docs: $(VENV)/.dev ## generate the pages of the documentation that are generated
	$(PYTHON) scripts/generate_command_line.py
	$(PYTHON) scripts/generate_compatibility.py

bench: $(VENV)/.dev ## measure, beside peers and floors
	$(PYTHON) -m benchmarks $(BENCH_ARGS)

lock: $(VENV)/.dev ## compile the locked requirements from pyproject.toml
	scripts/lock-requirements $(VENV)/bin/uv

$(VENV)/.demo $(VENV)/.dev: $(VENV)/.%: requirements/%.txt pyproject.toml
	@scripts/make-venv $(VENV) requirements/$*.txt
	@touch $@

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
