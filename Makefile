# GAN3D. `make help` lists the commands. Each brings its own environment up to date first (tools/environment.py) and
# touches nothing when that is done already.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-device lint format bench extension test-blender52 test-gui environment clean

# Blender 4.5 is built for Python 3.11, and so is its wheel. A `python3.11` on the PATH need not run (pyenv's do not
# always), so each candidate is asked.
first_python = $(shell for p in $(2); do v=$$("$$p" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); \
	if [ "$$v" = "$(1)" ]; then echo "$$p"; break; fi; done)
PYTHON ?= $(call first_python,3.11,python3.11 python3 $(wildcard $(HOME)/.pyenv/versions/3.11*/bin/python3.11))
PYTHON313 ?= $(call first_python,3.13,python3.13 python3 $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13))

VENV := .venv
VENV52 := .venv52
PY := $(VENV)/bin/python
PY52 := $(VENV52)/bin/python
# Further arguments: `make demo ARGS="--count 2"`, `make test ARGS="-k recipe"`, `make demo PIP="--extra-index-url …"`.
ARGS ?=
PIP ?=
# Processes that run tests.
JOBS ?= 2

define need_python
	@test -n "$($(1))" || { echo "No Python $(2) was found. Install it, or name it: make $@ $(1)=/path/to/python$(2)" >&2; exit 1; }
endef
define demo_environment
	$(call need_python,PYTHON,3.11)
	@"$(PYTHON)" tools/environment.py $(VENV) requirements/demo.txt --pip "$(PIP)"
endef
define development_environment
	$(call need_python,PYTHON,3.11)
	@"$(PYTHON)" tools/environment.py $(VENV) requirements/development.txt --pip "$(PIP)"
endef

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

demo:  ## four chairs: out/chairs.blend, .glb files, a rendered sheet, recipes and timings
	$(demo_environment)
	@$(PY) -m tools.demo $(ARGS)

test:  ## the whole test suite, with Blender 4.5 as a module and a real worker
	$(development_environment)
	@$(PY) -m pytest --ignore=tests/gui -n $(JOBS) --dist loadfile $(ARGS)

test-device:  ## every pair and every kind of training on a device that this machine has: DEVICE=cuda
	@test -n "$(DEVICE)" || { echo "Name the device: make test-device DEVICE=cuda" >&2; exit 1; }
	$(development_environment)
	@$(PY) -m pytest tests/laboratory/test_devices.py tests/laboratory/test_pairs.py --device $(DEVICE) $(ARGS)

lint:  ## ruff's rules and format, and mypy with Blender's type stubs
	$(development_environment)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format:  ## let ruff rewrite what it can
	$(development_environment)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench:  ## how long worker start, first chair, next chair and each stage take
	$(development_environment)
	@$(PY) -m benchmarks $(ARGS)

extension:  ## build and validate the installable extension under dist/
	$(development_environment)
	@$(PY) tools/build_extension.py $(ARGS)

test-blender52:  ## the add-on's tests in Blender 5.2 as a module (needs Python 3.13)
	$(development_environment)
	$(call need_python,PYTHON313,3.13)
	@"$(PYTHON313)" tools/environment.py $(VENV52) requirements/blender52.txt --python 3.13 --pip "$(PIP)"
	@$(PY52) -m pytest tests/blender $(ARGS)

test-gui:  ## click through the panel in a real Blender window (needs Blender, a display and a runner)
	@test -n "$(GAN3D_GUI_RUNNER)" || { echo "Set GAN3D_GUI_RUNNER to a command that opens a Blender window:" \
	"tests/gui/run.py says how it is called and what it must do." >&2; exit 1; }
	$(development_environment)
	@$(PY) tests/gui/run.py out/gui $(ARGS)

environment:  ## only bring .venv up to date, for development
	$(development_environment)

clean:  ## remove what the commands above made, environments excepted
	rm -rf out build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
