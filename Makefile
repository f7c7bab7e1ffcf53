# Two set-up commands: `make quickstart` and `make test`. The rest is for people who change luthier.

PYTHON ?= python3
BIN := .venv/bin
THREADS := OMP_NUM_THREADS=1
TWO := -n 2 --dist worksteal

.PHONY: quickstart test check lint faults table gpu bench base-model data-files sample-data lock

quickstart: .venv/app
	$(BIN)/luthier quickstart

test: .venv/dev
	$(THREADS) $(BIN)/pytest $(TWO) -m "not gpu and not exhaustive"

check: lint
	$(THREADS) $(BIN)/pytest $(TWO) -q -m "not gpu and not slow and not exhaustive"

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

faults: .venv/dev
	$(THREADS) $(BIN)/pytest tests/faults

table: .venv/dev
	LUTHIER_TABLE_MODEL=$(or $(MODEL),../shared/models/stories260K/chat) $(THREADS) $(BIN)/pytest -s tests/e2e/test_table.py -k whole

gpu: .venv/dev
	$(BIN)/pytest -m gpu

bench: .venv/dev
	$(THREADS) $(BIN)/python benchmarks/train_step.py

base-model: .venv/dev
	$(THREADS) taskset -c 0 $(BIN)/python -m scripts.base_model.train
	$(BIN)/python -m scripts.base_model.card

data-files: .venv/dev
	$(BIN)/python -m scripts.formats_found $(or $(FILES),../shared/data)

sample-data: .venv/dev
	$(BIN)/python -m scripts.sample_data

# Every package at the version this was tested with. torch is pinned: a newer one drags gigabytes of CUDA along.
.venv/app: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,gguf]"
	touch $@

.venv/dev: .venv/app
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev]"
	touch $@
