# Each target sets itself up: Python 3.11 or newer and make are all that must be there. CONTRIBUTING.md has the words.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
DEMO := -m demo
# Test processes at a time: one more than cores, for those of Ray wait more than they compute.
JOBS ?= 3
# Address of an index that holds other builds of torch than pip's default one; empty: pip's default.
TORCH_INDEX ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check bench clean

help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(INSTALLED)  ## Cut a Llama over two Ray workers and compare with PyTorch
	$(PY) $(DEMO)

test: $(INSTALLED)  ## Run the tests (those marked slow: make test MARK=slow)
	$(PY) -m pytest -q -n $(JOBS) --dist loadfile --durations=10 $(if $(MARK),-m $(MARK))

check: $(INSTALLED)  ## Format, lint and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) tools/typecheck.py

bench: $(INSTALLED)  ## Measure
	$(PY) -m benchmarks

clean:  ## Remove the environment and everything built
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

# The stamp is written last: an installation cut short is taken up again by the next make.
$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; name one: make PYTHON=/path/to/python"; exit 1; }
	@echo "installing into $(VENV) (once; some minutes)"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		--constraint constraints.txt --editable '.[dev,test]'
	@$(PY) -c 'import torch; torch.version.cuda and not torch.cuda.is_available() and print("note: this torch was \
	built for CUDA and no GPU is at hand; it works, but a CPU build is smaller: see TORCH_INDEX in CONTRIBUTING.md")'
	@touch $@
