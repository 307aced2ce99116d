# Each command sets up what it needs, is safe to repeat, and takes seconds the second time.
PYTHON ?= python3
RUN = .venv/bin/python
# two files at a time, in the order of tests/conftest.py; what measures how long a person waits has both cores to itself
ALONE = tests/chaos
TWO = -n 2 --dist loadfile --no-loadscope-reorder
ALL = $(RUN) -m pytest $(TWO) $(ALONE:%=--ignore %) $(ARGS) && $(RUN) -m pytest $(ALONE) $(ARGS)
LINT = $(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m ty check --output-format concise
TESTS = $(if $(filter-out --all,$(ARGS)),$(RUN) -m pytest $(ARGS),$(ALL))

.PHONY: help run check test demo space setup lock bench bench-check paper

help:                 ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: setup            ## open the app on 127.0.0.1:7860
	@$(RUN) app.py

demo: setup           ## train on the example data, then compare; ARGS="--base B --max-steps N" changes settings
	@$(RUN) -m examples.demo $(ARGS)

space: setup          ## put the last commit on a Space, after a look at the plan; NAME=owner/name ARGS="--public --zero-gpu --jobs"
	@$(RUN) -m jobs.space $(NAME) $(ARGS)

setup: .venv/installed-requirements.txt  ## make .venv and install what the app needs

# the stamp of a set-up that went through; without a working interpreter it is made again
.venv/installed-%: % requirements.txt constraints.txt $(RUN)
	@PYTHON="$(PYTHON)" sh setup.sh $< && touch $@

$(RUN): ;

lock:                 ## write constraints.txt again after a change of the requirements; needs uv
	@uv pip compile --quiet --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock" \
		--output-file constraints.txt requirements-dev.txt
	@grep -vE '^(torch|triton|nvidia-|cuda-)' constraints.txt >.constraints && mv .constraints constraints.txt

check: .venv/installed-requirements-dev.txt  ## lint, types, and the tests that take a moment
	@$(LINT) && $(RUN) -m pytest -m unit $(TWO) $(ALONE:%=--ignore %)

# ARGS="tests/chat --randomly-seed=N" runs some, in the order of an earlier run; ARGS="--all" lets no test take a small sample
test: .venv/installed-requirements-dev.txt  ## lint, types, and all tests, in random order
	@$(LINT) && $(TESTS)

bench: setup          ## measure against what people would use instead; ARGS="--only train_speed --full --keep"
	@$(RUN) -m benchmarks.bench $(ARGS)

bench-check: setup    ## which ratios fell by more than 15 % below the kept ones
	@$(RUN) -m benchmarks.bench --check $(ARGS)

paper: setup          ## the table of experiments in benchmarks/results/paper; ARGS="--search" or "--rerun"
	@$(RUN) -m benchmarks.paper $(ARGS)
