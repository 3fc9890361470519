# Two commands on a fresh machine: `make run` and `make test`. Both set up .venv first.
PYTHON ?= python3
ENTRY ?= fashion_aug
ARGS ?=
# Packages for an NVIDIA GPU, yes or no: by default where the driver finds one (decision 30).
GPU ?= $(shell nvidia-smi --list-gpus >/dev/null 2>&1 && echo yes || echo no)

export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: run test slow services examples generated results docs screenshots lint format benchmarks ui requirements clean

# A quarter of their epochs: 24 take 20 minutes where the processor has no bfloat16.
SHORT = $(if $(filter fashion fashion_aug,$(ENTRY)),$(if $(findstring epochs=,$(ARGS)),,-P epochs=6))

# That of the dataset, as for runs that are started directly; MLflow's own would be Default.
EXPERIMENT = $(or $(OF_$(firstword $(subst _, ,$(ENTRY)))),mnist)
OF_fashion = fashion_mnist
OF_housing = california_housing
OF_detector = mnist_detector

run: .venv/ready  ## ENTRY=fashion chooses another entry point, ARGS="-P epochs=2" its parameters
	mlflow run . -e $(ENTRY) --experiment-name $(EXPERIMENT) --env-manager local $(SHORT) $(ARGS)

test: lint  ## in three processes, of a thread each; ARGS="-k registry -n 0" chooses tests
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 python -m pytest $(ARGS)

slow: .venv/dev  ## what `make test` leaves out, some minutes
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 python -m pytest -m slow $(ARGS)

services: .venv/dev  ## models served, a team's server, the UI in a browser; says what is missing
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 python -m pytest -m services $(ARGS)

examples: .venv/dev  ## README's commands, word for word, in a fresh clone: half an hour, 16 GB
	python -m pytest -n 0 -m examples $(ARGS)

generated: .venv/ready  ## MLproject and docs/reference.md, from the parameters of pipelines/
	PYTHONPATH=.:src python -m docs.generate

results: .venv/ready  ## README's table of results and their figure, from docs/results.csv
	PYTHONPATH=.:src python -m docs.results

docs: .venv/ready requirements-docs.txt  ## the pages as a site, in site/index.html; every link must lead somewhere
	@$(INSTALL); install -r requirements-docs.txt
	PYTHONPATH=.:src python -m sphinx --quiet --fail-on-warning --keep-going -b html docs site

screenshots: .venv/dev  ## README's picture of the UI, with the runs in ./mlflow.db
	PYTHONPATH=.:src python -m tests.pipelines.ui docs/images fashion_mnist curves

lint: .venv/dev
	ruff check .
	ruff format --check .
	mypy

format: .venv/dev
	ruff check --fix .
	ruff format .

benchmarks: .venv/dev  ## more than an hour, the last with PostgreSQL; let nothing else run meanwhile
	PYTHONPATH=.:src python -m benchmarks.dense_mnist
	PYTHONPATH=.:src python -m benchmarks.housing
	PYTHONPATH=.:src python -m benchmarks.limits
	PYTHONPATH=.:src python -m benchmarks.neighbors
	PYTHONPATH=.:src python -m benchmarks.fashion
	PYTHONPATH=.:src python -m benchmarks.cnn
	PYTHONPATH=.:src python -m benchmarks.cnn_suite
	PYTHONPATH=.:src python -m benchmarks.scratch_mnist
	PYTHONPATH=.:src python -m benchmarks.compare
	PYTHONPATH=.:src python -m benchmarks.sweep
	PYTHONPATH=.:src python -m benchmarks.serving
	PYTHONPATH=.:src python -m benchmarks.tracking

# With the first Python that has our version of MLflow: it need not be the one of .venv.
MLFLOW = import sys, importlib.metadata as m; sys.exit(not m.version("mlflow").startswith("3.17."))
UI = PYTHONPATH=.:src exec "$$python" -m trackml.commands.ui

ui:  ## the runs in the store of MLFLOW_TRACKING_URI, else in ./mlflow.db; MLFLOW_PORT=5001
	@for python in python "$$(sed -n '1s/^#!//p' "$$(command -v mlflow)" 2>/dev/null)"; do \
		if "$$python" -c '$(MLFLOW)' 2>/dev/null; then $(UI); fi; \
	done; $(MAKE) .venv/ready && python=python && $(UI)

# uv is several times as fast as pip, which takes over where uv cannot be had or reach the packages.
# The pins are complete, so neither looks for dependencies. uv is told pip's index and certificates.
INDEX = $$(python -m pip config list | sed -n "s/^\(:env:\|global\|install\)\.index-url='\(.*\)'/\2/p" | tail -n 1)
INSTALL = install() { \
	UV_SYSTEM_CERTS=1 UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$(INDEX)}" \
		.venv/bin/uv pip install --python .venv/bin/python --compile-bytecode --no-deps "$$@" \
	|| python -m pip install --progress-bar off --disable-pip-version-check --no-deps "$$@"; }
PACKAGES_yes = requirements.txt
PACKAGES_no = requirements-cpu.txt
ABOUT_yes = on Linux 3.9 GB to fetch, under 9 GB on disk
ABOUT_no = for no GPU, on Linux 3.1 GB to fetch, 6.6 GB on disk
PACKAGES = $(or $(PACKAGES_$(GPU)),$(error GPU=$(GPU): say yes or no))

.venv/ready: requirements.txt requirements-cpu.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"trackml needs Python 3.11 to 3.13, and {sys.executable} is {v[0]}.{v[1]}: make PYTHON=...")'
	@echo "setting up .venv from $(PACKAGES): $(ABOUT_$(GPU)) (GPU=yes or GPU=no decides)"
	@set -e; $(INSTALL); start=$$(date +%s); $(PYTHON) -m venv .venv; \
		python -m pip install --quiet --disable-pip-version-check $$(grep '^uv==' requirements-dev.txt) || true; \
		install -r $(PACKAGES); install --editable .; \
		echo "set up in $$(($$(date +%s) - start)) s: $$(du -sh .venv | cut -f 1) in .venv"
	@touch $@

.venv/dev: .venv/ready requirements-dev.txt
	@$(INSTALL); install -r requirements-dev.txt
	@touch $@

# All pins anew, from the ranges of pyproject.toml, for every platform and Python that we support.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make requirements" uv pip compile --quiet --universal --upgrade \
	--python-version 3.11 --no-emit-index-url --no-emit-find-links

requirements: .venv/dev
	$(COMPILE) pyproject.toml --output-file requirements.txt
	$(COMPILE) --group dev --constraint requirements.txt --output-file requirements-dev.txt
	$(COMPILE) --group docs --constraint requirements.txt --output-file requirements-docs.txt
	$(MAKE) requirements-cpu.txt --always-make

# Without what only a GPU uses and `import torch` does not load; see decision 30.
CUDA_ONLY = cuda-bindings|cuda-pathfinder|cuda-toolkit|nvidia-cuda-cccl|nvidia-cusolver|nvidia-nvtx|triton
X86 = sys_platform == 'linux' and platform_machine == 'x86_64'
OTHER = sys_platform != 'linux' or platform_machine != 'x86_64'

requirements-cpu.txt:
	@echo "# requirements.txt for machines without a GPU, by \`make requirements\`; install with --no-deps" > $@
	@sed -E "/^ *#/d; /^($(CUDA_ONLY))==/d; s/^tensorflow(==.*)/tensorflow\1 ; $(OTHER)\ntensorflow-cpu\1 ; $(X86)/" requirements.txt >> $@

clean:
	rm -rf .venv
