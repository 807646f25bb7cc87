# make run    install, then train the gated composed-retrieval model on the embedded set (or CIRR, see README)
# make test   install with the test extra, then quality checks and tests
# VENV=DIR uses another virtual environment, PYTHON=EXE another interpreter to create it with.

VENV   ?= .venv
PYTHON ?= python3
CONFIG ?= configs/cirr_gated.py
BIN    := $(VENV)/bin

PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --editable

# Stamps are named after the content of the manifest: a fresh checkout's time stamps then force no installation.
DIGEST := $(shell sha256sum < setup.cfg | cut -c1-16)
ALL    := $(VENV)/.installed-all-$(DIGEST)
RUN    := $(VENV)/.installed-run-$(DIGEST)

# One environment may serve several checkouts: this checkout's sources come first whichever installed it.
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

.PHONY: run test quality lint layers types clean

run: $(RUN)
	$(BIN)/python tools/train.py $(CONFIG) $(ARGS)

test: $(ALL)
	$(MAKE) quality VENV=$(VENV)
	$(BIN)/python -m pytest $(ARGS)

quality: lint layers types

lint:
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

layers:
	$(BIN)/python -m pytest tests/test_layers.py

types:
	$(BIN)/python -m mypy

# Without a working pip it is missing or was left halfway: start afresh. One that works is never cleared.
$(VENV)/.created:
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	touch $@

# A stamp is written only after pip has succeeded, so a half-made environment is completed, not trusted.
$(ALL): | $(VENV)/.created
	$(PIP_INSTALL) '.[all]'
	touch $(RUN) $@

$(RUN): | $(VENV)/.created
	$(PIP_INSTALL) '.[lavis,report]'
	touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
