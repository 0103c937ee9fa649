# Needs Python 3.11 or later and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MNIST ?= mnist.npz
# The command and its progress stay quiet about caches that pip cannot share.
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: demo test lint browser-test gpu-test weights digits install clean

demo: $(VENV)/.installed  ## audit the bundled network on the bundled digits
	$(BIN)/immersion audit

test: $(VENV)/.developed lint  ## everything but the browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --durations=10 --numprocesses=auto --dist=loadfile

lint: $(VENV)/.developed  ## style, types, floors and sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python tools/check_structure.py

browser-test: $(VENV)/.developed  ## the report in headless Chromium (CHROMIUM=path, or on the PATH)
	$(BIN)/python -m pytest tests/browser

gpu-test: $(VENV)/.developed  ## the same answers on a CUDA device
	$(BIN)/python -m pytest tests/gpu

weights: $(VENV)/.developed  ## train the bundled network again (MNIST=path of mnist.npz)
	$(BIN)/python tools/train_digits_convnet.py --mnist $(MNIST)

digits: $(VENV)/.developed  ## bundle the digits again (MNIST=path of mnist.npz)
	$(BIN)/python tools/bundle_digits.py --mnist $(MNIST)

install: $(VENV)/.installed

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

$(VENV)/.developed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) immersion-report
