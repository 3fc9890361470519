# Two commands on a fresh machine: `make run` and `make test`. Both set up .venv first.
PYTHON ?= python3
ENTRY ?= fashion_aug
ARGS ?=

export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: run test slow services examples generated results screenshots lint format benchmarks ui requirements clean

# Of fashion_aug a quarter of the epochs: 24 take 20 minutes where the processor has no bfloat16.
SHORT = $(if $(filter fashion_aug,$(ENTRY)),$(if $(findstring epochs=,$(ARGS)),,-P epochs=6))

run: .venv/ready  ## ENTRY=fashion chooses another entry point, ARGS="-P epochs=2" its parameters
	mlflow run . -e $(ENTRY) --env-manager local $(SHORT) $(ARGS)

test: lint  ## in two processes, of a thread each; ARGS="-k registry -n 0" chooses tests
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 python -m pytest $(ARGS)

slow: .venv/ready  ## what `make test` leaves out, some minutes
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 python -m pytest -m slow $(ARGS)

services: .venv/ready  ## models served, a team's server, the UI in a browser; says what is missing
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 python -m pytest -m services $(ARGS)

examples: .venv/ready  ## README's commands, word for word, in a fresh clone: half an hour, 16 GB
	python -m pytest -n 0 -m examples $(ARGS)

generated: .venv/ready  ## MLproject and docs/reference.md, from the parameters of pipelines/
	PYTHONPATH=.:src python -m docs.generate

results: .venv/ready  ## README's table of results and their figure, from docs/results.csv
	PYTHONPATH=.:src python -m docs.results

screenshots: .venv/ready  ## of README, of the runs in ./mlflow.db: first run fashion and fashion_aug here, directly
	PYTHONPATH=.:src python -m tests.pipelines.ui docs/images

lint: .venv/ready
	ruff check .
	ruff format --check .
	mypy

format: .venv/ready
	ruff check --fix .
	ruff format .

benchmarks: .venv/ready  ## more than an hour, the last with PostgreSQL; let nothing else run meanwhile
	PYTHONPATH=.:src python -m benchmarks.dense_mnist
	PYTHONPATH=.:src python -m benchmarks.housing
	PYTHONPATH=.:src python -m benchmarks.cnn
	PYTHONPATH=.:src python -m benchmarks.cnn_suite
	PYTHONPATH=.:src python -m benchmarks.scratch_mnist
	PYTHONPATH=.:src python -m benchmarks.compare
	PYTHONPATH=.:src python -m benchmarks.sweep
	PYTHONPATH=.:src python -m benchmarks.serving
	PYTHONPATH=.:src python -m benchmarks.tracking

ui: .venv/ready
	mlflow ui --backend-store-uri sqlite:///mlflow.db

.venv/ready: requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"trackml needs Python 3.11 to 3.13, and {sys.executable} is {v[0]}.{v[1]}: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# All pins anew, from the ranges of pyproject.toml, for every platform and Python that we support.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make requirements" uv pip compile --quiet --universal --upgrade \
	--python-version 3.11 --no-emit-index-url --no-emit-find-links

requirements: .venv/ready
	$(COMPILE) pyproject.toml --output-file requirements.txt
	$(COMPILE) --group dev --constraint requirements.txt --output-file requirements-dev.txt

clean:
	rm -rf .venv
