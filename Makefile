# One word for each habit; `make` alone lists them. Every target sets up what it needs by itself.

VENV := .venv
BIN := $(VENV)/bin
TORCH_VERSION := 2.13.0
TRITON_VERSION := 3.6.0

# The first of these that runs and is of a supported version, or choose: make PYTHON=/path/to/python
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.10; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo $$python; break; }; done)

# Stamps: a second run has nothing to install and starts at once.
TORCH := $(VENV)/.torch-$(TORCH_VERSION)
INSTALLED := $(VENV)/.installed
TRITON := $(VENV)/.triton-$(TRITON_VERSION)

# With another index: IMAGE_OPTIONS='--build-arg PIP_INDEX_URL=...'; docs/docker.md lists the arguments.
DOCKER ?= docker
IMAGE ?= peephole-asr
IMAGE_OPTIONS ?=
BUILD_IMAGE = $(DOCKER) build --network host -f docker/Dockerfile $(IMAGE_OPTIONS) \
	--build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' asr/__init__.py)" \
	--build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null)"

heading = @printf '\n== %s ==\n'

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow check bench load bench-streaming soak install proto clean image image-demo image-train image-test

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

OPEN ?=
demo: $(INSTALLED)  ## transcribe sample speech; train, serve, transcribe unseen voices; OPEN=1: a page to speak to
	$(heading) 'demo'
	@$(BIN)/python -m recipes.demo $(if $(OPEN),--open)

test: check $(TRITON)  ## formatter, linter, type checker, tests; stops at the first failure
	$(heading) 'tests: pytest, on all cores'
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m 'not timed and not slow and not image'
	$(heading) 'tests that bound times, one after another'
	@$(BIN)/python -m pytest -m 'timed and not slow and not image'

test-slow: $(TRITON)  ## the tests that take longer than a minute each
	$(heading) 'slow tests: pytest -m slow'
	@$(BIN)/python -m pytest -m 'slow and not image'

check: $(INSTALLED)  ## formatter, linter and type checker only
	$(heading) 'format: ruff format --check'
	@$(BIN)/ruff format --check
	$(heading) 'lint: ruff check'
	@$(BIN)/ruff check
	$(heading) 'types: mypy'
	@$(BIN)/mypy

bench: $(INSTALLED)  ## speed of layer and model beside torch.nn.LSTM, a few minutes
	$(heading) 'benchmark (have nothing else running)'
	@$(BIN)/python -m benchmarks.recurrent

load: $(INSTALLED)  ## the server under load beside `asr transcribe`; needs the demo's model
	$(heading) 'load (have nothing else running)'
	@$(BIN)/python -m benchmarks.serving

PAIRS ?=
STREAM_BUNDLES ?= models/english
bench-streaming: $(INSTALLED)  ## live streams: errors by look-ahead, latencies by sessions; PAIRS=TSV of audio and texts
	$(heading) 'live streams (have nothing else running)'
	@$(BIN)/python -m benchmarks.streaming --bundle $(STREAM_BUNDLES) --pairs '$(PAIRS)' \
		--figures docs/streaming

soak: $(INSTALLED)  ## thousands of calls: does the server stay as it was? needs the demo's model
	$(heading) 'soak'
	@$(BIN)/python -m benchmarks.soak

install: $(INSTALLED)  ## create .venv and install everything (the others do so by themselves)

proto:  ## regenerate the gRPC stubs in server/pb from proto/
	@PYTHON='$(PYTHON)' sh proto/generate.sh

image:  ## build the server's image for CPU, peephole-asr:latest
	$(BUILD_IMAGE) --target server -t $(IMAGE) .

image-demo:  ## the same with the demo's model in it, which the build trains, peephole-asr:demo
	$(BUILD_IMAGE) --target demo -t $(IMAGE):demo .

image-train:  ## the image of the recipes, peephole-asr:train
	$(BUILD_IMAGE) --target train -t $(IMAGE):train .

image-test: $(INSTALLED) image  ## build the server's image, start it as it should run, use it, stop it
	$(heading) 'image: pytest -m image'
	@DOCKER='$(DOCKER)' IMAGE='$(IMAGE)' $(BIN)/python -m pytest -m image -s tests/server/test_image.py

clean:  ## remove caches and build products; .venv and exp/ (trained models) stay
	rm -rf build dist *.egg-info lightning_logs .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find asr server recipes tests -name __pycache__ -type d -exec rm -rf {} +

$(TORCH):
	$(heading) 'environment: $(VENV) with torch $(TORCH_VERSION) (a few minutes, once)'
	@test -n '$(PYTHON)' || { echo 'No Python 3.10 to 3.13 found: install Python 3.11' \
		'or name one with make PYTHON=/path/to/python'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install torch==$(TORCH_VERSION)
	@touch $@

$(INSTALLED): $(TORCH) pyproject.toml constraints.txt setup.py $(wildcard asr/nn/kernels/native/*.h asr/nn/kernels/native/*.cpp)
	$(heading) 'environment: peephole-asr and its dependencies'
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@

# For tests alone: the GPU's kernel runs in Triton's interpreter. A CUDA build of torch has brought its
# own Triton; where there is none to install, those tests are skipped.
$(TRITON): $(TORCH)
	$(heading) 'environment: triton, to test the kernel for the GPU'
	@$(BIN)/python -c 'import triton' 2>/dev/null \
		|| $(BIN)/pip install triton==$(TRITON_VERSION) || echo 'no triton here: its tests are skipped'
	@touch $@
