# ReDys: `make demo` and `make test` make everything they need from nothing.
# Needs: Python 3.11 or 3.12, make. Node comes as a wheel.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
STAMPS := .venv/.stamps
export PATH := $(CURDIR)/$(BIN):$(PATH)
# The files are put where they are used, never asked from a hub.
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo run test lint types unit browser chromium sbom audit clean

help:
	@echo "make setup    environment, packages, browser modules, built-in hand"
	@echo "make demo     a made patient with two visits, worked through, open on 127.0.0.1:8050"
	@echo "make run      serve the dashboard"
	@echo "make test     lint, types, unit, pipeline, database and browser tests"
	@echo "make sbom     the list of all packages in redys.cdx.json (CycloneDX), without asking anybody"
	@echo "make audit    ask whether a fault of a package is known; 3 = could not be asked"
	@echo "make clean    remove what the above made, but for recordings in data/"

# --- set-up -----------------------------------------------------------------------------------------

setup: $(STAMPS)/packages $(STAMPS)/node models/builtin/hand.npz

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else "ReDys needs Python 3.11 or 3.12, and this is %d.%d. Name another: make PYTHON=/path/to/python3.11" % v)'
	$(PYTHON) -m venv .venv
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: requirements.txt requirements-models.txt $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-models.txt
	@touch $@

$(STAMPS)/dev: requirements-dev.txt $(STAMPS)/packages
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

$(STAMPS)/node: package.json package-lock.json $(STAMPS)/packages
	$(BIN)/npm ci --no-audit --no-fund --loglevel=error
	@touch $@

models/builtin/hand.npz: pipeline/hand/builtin.py $(STAMPS)/packages $(STAMPS)/node
	$(BIN)/python -m pipeline hand-model

# --- use --------------------------------------------------------------------------------------------

demo: setup
	$(BIN)/python -m records demo
	$(BIN)/python app.py

run: setup
	$(BIN)/python app.py

# --- checks -----------------------------------------------------------------------------------------

test: lint types unit browser
	@echo "All checks passed."

lint: setup $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup $(STAMPS)/dev
	$(BIN)/mypy .

unit: setup $(STAMPS)/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not browser"

browser: setup $(STAMPS)/dev chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m browser

# Debian's Chromium: installed here when it is missing and this user may, since no test may pass by being skipped.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	  else \
	    echo "The browser tests need Chromium, which is missing: install it (Debian: sudo apt-get install chromium)."; exit 1; \
	  fi; }

sbom: setup $(STAMPS)/dev
	$(BIN)/python -m bill write redys.cdx.json

audit: setup $(STAMPS)/dev
	$(BIN)/python -m bill audit

clean:
	rm -rf .venv node_modules models/builtin .mypy_cache .ruff_cache .pytest_cache
