VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: demo test lint

$(STAMP): pyproject.toml constraints.txt
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install -q uv
	$(PY) -m uv pip install -q -p $(PY) -c constraints.txt -e ".[dev,export,pathtrace,ray]"
	touch $@

demo: $(STAMP)
	$(VENV)/bin/auxhand predict src/auxhand/assets/photos --out demo

test: $(STAMP)
	$(PY) -m pytest

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
