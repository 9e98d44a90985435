# make run    the service with a small local model: http://127.0.0.1:8000
# make demo   fifteen days of a made-up installation, to look at
# make test   everything the tests need, and the tests
# make check  format, lint, types and tests: what CI runs

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

# One worker more than there are cores: a test waits a third of its time. A file stays with one worker, since
# its tests share a server. Kept bytecode, since the tests start the service some hundred times.
WORKERS := $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
TESTS := PYTHONDONTWRITEBYTECODE= $(VENV)/bin/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: install run demo test check lock dev system-tools

install: $(VENV)/installed

run: install
	exec $(VENV)/bin/nightrate serve

demo: install
	exec $(VENV)/bin/nightrate demo

test: dev system-tools
	$(TESTS)

check: dev system-tools
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(TESTS)

# The stamps are newer than the locks as long as these have not changed.
$(VENV)/installed: requirements.lock pyproject.toml
	$(call installed,requirements.lock)

dev: $(VENV)/installed-dev

$(VENV)/installed-dev: requirements-dev.lock pyproject.toml
	$(call installed,requirements-dev.lock)
	@touch $(VENV)/installed

define installed
[ -x $(VENV)/bin/pip ] || $(PYTHON) -m venv $(VENV)
$(PIP) install --quiet --require-hashes --only-binary :all: -r $(1)
$(PIP) install --quiet --no-deps --no-build-isolation --editable .
@touch $@
endef

# Chromium for the console's tests, promtool for the metrics', PostgreSQL's server for the lake's. Debian's, since they bring what they need.
system-tools:
	@missing=""; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v promtool >/dev/null || missing="$$missing prometheus"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || missing="$$missing postgresql"; \
	[ -z "$$missing" ] || { $(SUDO) apt-get update -q && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -qy --no-install-recommends $$missing; } || \
	{ echo "the tests need:$$missing (Debian packages); install them and try again" >&2; exit 1; }

# Both locks from pyproject.toml. uv is used for this alone, from a throwaway environment.
lock:
	@set -e; tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$(PYTHON) -m venv "$$tools"; "$$tools/bin/pip" install --quiet --disable-pip-version-check uv; \
	for kind in install dev; do \
	  file=requirements.lock; [ $$kind = install ] || file=requirements-dev.lock; \
	  "$$tools/bin/uv" pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate \
	    --python-version 3.11 --custom-compile-command "make lock" --extra $$kind \
	    pyproject.toml --output-file $$file; \
	done
