# Everything runs from the checkout: tools in .tools/, packages in .venv/, the demo's data in .demo/.
PYTHON ?= python3
ARGS ?=
# Tests run beside one another, file by file, the long ones first; ARGS="-n 0" runs them in one process.
BESIDE ?= -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder
RUN := .venv/bin/python
# Processes that tests and the demo start read bytecode rather than compile our sources each time, whatever the caller prefers.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help install demo test lint types bench chaos compose-check protos docs clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Install everything into the checkout
	@$(PYTHON) scripts/bootstrap.py

demo: install ## Start a whole market and play the main job; ARGS="--once" ends after checking it, "--fresh" starts over
	@exec $(RUN) -m demo $(ARGS)

test: lint types ## Check and test everything; ARGS are handed to pytest
	$(RUN) -m pytest $(BESIDE) $(ARGS)

lint: install ## ruff and the import contracts
	$(RUN) -m ruff check .
	.venv/bin/lint-imports

types: install ## mypy, strict
	$(RUN) -m mypy protos/src sdk/src node_agent/src marketplace/src demo

bench: install ## Measure rounds, queries, training and metered calls
	@$(RUN) -m tests.bench $(ARGS)

chaos: install ## Kill processes at random while the main job is played; ARGS="--kills 100 --seed 1"
	@$(RUN) -m tests.chaos $(ARGS)

compose-check: install ## Play the chain against docker compose and break it on the way
	@$(RUN) -m demo.containers $(ARGS)

protos: install ## Generate the gRPC code again
	protos/generate.sh

docs: install ## Write the generated pages of docs/ again
	$(RUN) scripts/generate_docs.py

clean: ## Remove what the tools left behind; keeps .venv, .tools and .demo
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
