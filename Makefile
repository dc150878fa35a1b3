# make demo       depth on sample images over ROS 2; needs no ROS, GPU or camera; leaves pictures in demo/
# make test       lint, format check, type check and every test
# make lint       lint, format check and type check alone
# make train      makes the tiny model anew, resumes when interrupted; make train PRETRAINED=weights of a
#                 larger encoder DATA=folder of sets to score on
# make documents  writes the parameter file and its table anew from the declarations
# make site       the documentation as a site, in build/site
# make sbom       what an installation consists of, with licenses, in build/sbom; make sbom INSTALLED=/path/to/python
# make evaluate   scores of the bundled model and its baselines; make evaluate DATA=folder
# make clean      removes what was built, except .venv (make distclean removes that too)
#
# Everything is installed into .venv, once. make PYTHON=/path/to/python chooses the interpreter, before the first use.
# Where a ROS 2 environment is sourced, its rclpy is used; elsewhere the wheels of the extra `ros` are.

VENV := .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data
# The interpreter of the installation that `make sbom` lists.
INSTALLED ?= $(BIN)/python
# A file, or a name from `models list`, which is fetched.
PRETRAINED ?= depth_anything_v2_vits
# Each process of tests has a ROS graph of its own and takes whole files, whose fixtures are made once.
PYTEST_OPTIONS ?= --numprocesses 4 --dist loadfile --max-worker-restart 2

ifneq (,$(and $(ROS_DISTRO),$(AMENT_PREFIX_PATH)))
CANDIDATES := $(or $(PYTHON),python3)
VENV_OPTIONS := --system-site-packages
DEMO_EXTRAS := demo,view
TEST_EXTRAS := test
# ROS 2 was compiled against this NumPy, and crashes with another major version.
KEEP_NUMPY := import numpy; print("numpy==" + numpy.__version__)
else
CANDIDATES := $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3.10 python3)
VENV_OPTIONS :=
DEMO_EXTRAS := ros,demo,view
TEST_EXTRAS := ros,test
KEEP_NUMPY :=
endif

HAS_NUMPY_2 := import numpy, sys; sys.exit(numpy.__version__ < "2")

IS_SUITABLE := import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))
SUITABLE = $(firstword $(foreach python,$(CANDIDATES),$(shell $(python) -c '$(IS_SUITABLE)' 2>/dev/null && echo $(python))))
SOURCES := setup.py setup.cfg package.xml pyproject.toml \
  $(shell find depth_anything_ros launch config resource rviz scripts -type f -not -name '*.pyc')
# pip builds in build/, and setuptools would install again what an earlier build left there.
# Python compiles what it imports. Compiling everything here nearly doubles the time of the installation.
install = rm -rf build/lib build/bdist.* && \
  { $(BIN)/python -m pip install --no-compile --progress-bar off -c $(VENV)/constraints.txt $(1) || echo pip-failed; } | $(SHOW_PACKAGES)
# One line on a terminal, which shows what pip does, and nothing elsewhere. The status is that of pip.
SHOW_PACKAGES := { status=0; count=0; \
  show() { if [ -t 1 ]; then printf '%-79.79s\r' "$$1"; fi; }; \
  while read -r word name rest; do case "$$word $$name" in \
    Collecting*) count=$$((count + 1)); show "  package $$count: $$name";; \
    Downloading*) show "  package $$count: $${name%%-*} $$rest";; \
    "Installing build"|"Getting requirements"|"Preparing metadata") show "  preparing the build";; \
    "Building wheel") show "  building a wheel $${rest%% (*}";; \
    "Installing collected") show "  unpacking $$count packages";; \
    pip-failed*) status=1;; \
  esac; done; show ""; exit $$status; }

.DELETE_ON_ERROR:
.PHONY: demo test lint train evaluate documents site sbom environment clean distclean

demo: $(VENV)/.installed-demo
	$(BIN)/depth_anything_ros demo --output demo

test: lint
	$(BIN)/pytest $(PYTEST_OPTIONS)

lint: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if $(BIN)/python -c '$(HAS_NUMPY_2)'; then echo $(BIN)/mypy; $(BIN)/mypy; \
	else echo "Types are not checked: that needs the type hints of NumPy 2" >&2; fi

train: environment
	$(BIN)/depth_anything_ros pipeline config/train/tiny/pipeline.yaml --output runs/tiny \
	  --define pretrained=$(PRETRAINED) --define data=$(DATA)

evaluate: environment
	$(BIN)/depth_anything_ros evaluate --data $(DATA)

documents: environment
	PYTHONPATH=. $(BIN)/python -m depth_anything_ros.ros.depth_node.parameter_documents

site: $(VENV)/.installed-docs
	PYTHONPATH=. $(BIN)/python -m mkdocs build --strict

# The tools have an environment of their own, so that they are not listed.
sbom:
	@test -x .venv-sbom/bin/python || $(SUITABLE) -m venv .venv-sbom
	@.venv-sbom/bin/python -m pip install --quiet 'cyclonedx-bom>=4' 'pip-licenses>=5'
	.venv-sbom/bin/python -m benchmarks.sbom --python $(INSTALLED)

environment: $(VENV)/.installed-test

$(VENV)/.installed-demo: $(SOURCES) | $(VENV)/constraints.txt
	@echo "Installing into $(VENV): a minute or two"
	@$(call install,'.[$(DEMO_EXTRAS)]')
	@touch $@

$(VENV)/.installed-docs: setup.py | $(VENV)/constraints.txt
	@$(call install,'.[docs]')
	@touch $@

$(VENV)/.installed-test: $(SOURCES) constraints.txt | $(VENV)/constraints.txt
	@echo "Installing into $(VENV), with PyTorch: a few minutes"
	@$(call install,-c constraints.txt '.[$(TEST_EXTRAS)]')
	@touch $@

$(VENV)/constraints.txt:
	@test -n "$(SUITABLE)" || { echo "No Python 3.10 to 3.14 with venv among: $(CANDIDATES). On Debian and Ubuntu:" \
	  "apt install python3-venv; or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(SUITABLE) -m venv $(VENV_OPTIONS) $(VENV)
	@$(BIN)/python -c '$(KEEP_NUMPY)' > $@

clean:
	rm -rf build dist install log demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find depth_anything_ros test launch -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) .venv-*
