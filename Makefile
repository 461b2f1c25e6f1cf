VENV := .venv
PY := $(VENV)/bin/python
PACKAGE := $(VENV)/.package
TOOLS := $(VENV)/.tools
INSTALL = $(PY) -m uv pip install -q -p $(PY) -c constraints.txt

# Imports are compiled once, and not by every process that a test starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all lint docs

$(PACKAGE): pyproject.toml constraints.txt
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install -q uv
	$(INSTALL) -e .
	touch $@

# what tests and checks need beside it
$(TOOLS): $(PACKAGE)
	$(INSTALL) -e ".[app,dev,docs,export,heic,openvino,pathtrace,ray,viewer]"
	touch $@

demo: $(PACKAGE)
	$(VENV)/bin/auxhand predict src/auxhand/assets/photos --out demo

# a process per core, each of one thread, with large pages (docs/results/speed.md); a file's tests share what its
# fixtures make
PYTEST = OMP_NUM_THREADS=1 GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(PY) -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

# all but the few dozen that take a third of the time
test: $(TOOLS)
	$(PYTEST) -m "not hostile and not slow"

test-all: $(TOOLS)
	$(PYTEST)

# a site in site/, with no page, link or anchor missing
docs: $(TOOLS)
	$(VENV)/bin/mkdocs build --strict

lint: $(TOOLS)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
