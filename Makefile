# Everything here needs Python 3.11 or newer with venv and pip, git, and make; nothing else.
PYTHON ?= python3
BIN := .venv/bin
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := true
export RAY_USAGE_STATS_ENABLED := 0
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo experiments test check up bench-filter bench-embed bench-shard bench-swap bench-coco2017 bench-scale gpu-check meadow-clip clean

help: ## Say what there is to make
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

setup: .venv/ready ## Make the environment: .venv with the package and everything it needs

.venv/ready: pyproject.toml $(wildcard constraints*.txt)
	@command -v git >/dev/null || { echo "bucolic needs git: install it first"; exit 1; }
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "bucolic needs a Git checkout: git clone it, a downloaded archive is not enough"; exit 1; }
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "bucolic needs Python 3.11 or newer with venv and pip: name one with make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing into .venv: a few minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## Run the whole pipeline on the drawn data set, and say where the results are
	bucolic params check
	dvc repro
	bucolic track || true # what waits is sent later
	bucolic report
	@echo
	@echo "report       reports/report.html           open it in a browser"
	@echo "sample grid  reports/figures/samples.png   open it in any viewer"
	@echo "MLflow UI    http://127.0.0.1:5001         make up"
	@echo "draw         source .venv/bin/activate && bucolic generate 'two cows under a blue sky' --out cows.png"

# Given to the benchmarks that race a peer, for photographs and captions that are elsewhere.
OPTIONS :=

# Columns of dvc exp show, which has a hundred, that are neither params nor headline figures.
NOT_SHOWN := (?!Experiment|Created|State|.*\.model$$|(dataset|filter|images|clip|shard|model|train|evaluate)\.(?!captions|images$$)).+

experiments: setup ## List experiments: the params that differ, and the model's headline figures
	@dvc exp show --only-changed --md --drop '$(NOT_SHOWN)'

test: setup ## Run the tests
	pytest

check: setup ## Lint, format, types, and who may import whom
	ruff check .
	ruff format --check .
	mypy
	lint-imports

up: setup ## Start the Prefect server (4200), the deployments, a worker and the MLflow UI (5001)
	@exec bucolic up

bench-filter: setup ## Race the filter stage against pycocotools, OPTIONS='--captions FILE'
	python bench/filter.py $(OPTIONS)
	python bench/page.py

bench-embed: setup ## Race embed against clip-retrieval, OPTIONS='--photographs FOLDER --captions FILE'
	python bench/embed.py $(OPTIONS)
	python bench/page.py

bench-shard: setup ## Race images and shard against img2dataset, OPTIONS='--photographs FOLDER'
	python bench/shard.py $(OPTIONS)
	python bench/page.py

bench-swap: setup ## Measure what one more keyword costs (bench/results/swap.json)
	python bench/swap.py
	python bench/page.py

bench-coco2017: setup ## Run preset coco2017 up to shard from a local server (bench/results/coco2017.json)
	python bench/coco2017.py
	python bench/page.py

bench-scale: setup ## Measure memory at 10,000 and 100,000 images (bench/results/scale.json)
	python bench/scale.py
	python bench/page.py

gpu-check: setup ## Check a GPU in minutes: every stage, bf16 against fp32, resume, speed
	python bench/gpu.py
	python bench/page.py

meadow-clip: setup ## Train the shipped CLIP and probe anew
	python tools/train_meadow_clip.py
	python tools/train_probe.py

clean: ## Remove the environment and tool caches; never data, models or records
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
