# `make` alone lists the targets. Whatever a target needs is set up first, in .venv (configs/locks/README.md).

ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
BIN := .venv/bin

# Path of a Python to use in place of the one that is found.
PYTHON ?=

# A test that hangs is stopped and shown with its stack after so many seconds. No test waits for this long.
HANG_SECONDS := 600

IN_ROOT := cd '$(ROOT)' &&
SET_UP := python=$$(PYTHON='$(PYTHON)' configs/locks/find-python.sh) && "$$python" configs/locks/install.py

# Compiled modules are kept, or PaddleX would be compiled anew at every start: 1.4 s instead of 3 s.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check slow e2e images bench figures gpu crds chart docs lock set-up programs clean

help: ## this list
	@echo 'make TARGET [PYTHON=/path/to/python3.11]'
	@sed -n 's/^\([a-z0-9-]*\):.*## /  \1\t/p' '$(ROOT)/Makefile' | expand -t 12

demo: ## read a real page with real models, through our own engines and server
	@$(IN_ROOT) $(SET_UP) tools agent-cpu demo
	@$(IN_ROOT) $(BIN)/hpi-agent demo -f configs/pipelines/ocr.yaml

PYTEST := $(BIN)/python -m pytest --timeout=$(HANG_SECONDS) --durations=10
# Files side by side, where tests do not mind one another. Those of builds and servers measure, and stay alone; those on a
# control plane wait more than they work, and each process has clusters of its own.
SIDE_BY_SIDE := --dist loadfile -n
ALONE := --ignore=tests/unit --ignore=tests/engines --ignore=tests/cluster

test: check programs ## check, then every test that takes seconds
	@$(IN_ROOT) $(PYTEST) -m 'not slow and not e2e' tests/unit tests/engines $(SIDE_BY_SIDE) 2
	@$(IN_ROOT) $(PYTEST) -m 'not slow and not e2e' $(ALONE)
	@$(IN_ROOT) $(PYTEST) -m 'not slow and not e2e' tests/cluster $(SIDE_BY_SIDE) 2

check: set-up ## formatter, linter, types, who may import whom
	@$(IN_ROOT) $(BIN)/ruff format --check .
	@$(IN_ROOT) $(BIN)/ruff check .
	@$(IN_ROOT) $(BIN)/mypy
	@$(IN_ROOT) $(BIN)/lint-imports --no-logo

slow: set-up programs ## the tests that take minutes
	@$(IN_ROOT) $(PYTEST) -m 'slow and not e2e' --ignore=tests/cluster
	@$(IN_ROOT) $(PYTEST) -m 'slow and not e2e' tests/cluster $(SIDE_BY_SIDE) 4

e2e: set-up programs ## the whole on a real Kubernetes node, with a time line; needs root on Debian or Ubuntu; 45 minutes
	@$(IN_ROOT) PYTHONPATH=tests $(BIN)/python -m support.node build
	@$(IN_ROOT) PYTHONPATH=tests $(BIN)/python -m support.image_builds
	@$(IN_ROOT) $(PYTEST) -m e2e
	@$(IN_ROOT) PYTHONPATH=tests:images $(BIN)/python -m first_light $(E2E)

images: set-up ## operator, agent and runtime as OCI archives, and site.yaml, in build/images; needs buildah, podman or docker
	@$(IN_ROOT) $(BIN)/python images/build.py $(IMAGES)

bench: set-up ## both systems in one run, the table of figures
	@$(IN_ROOT) PYTHONPATH=tests $(BIN)/python -m bench.ocr

figures: set-up ## the other figures: choice of engines, loading, models in the server, start
	@$(IN_ROOT) PYTHONPATH=tests $(BIN)/python -m bench.choice
	@$(IN_ROOT) PYTHONPATH=tests $(BIN)/python -m bench.engine_load
	@$(IN_ROOT) PYTHONPATH=tests $(BIN)/python -m bench.model_time
	@$(IN_ROOT) PYTHONPATH=tests $(BIN)/python -m bench.startup

# It runs where nothing can be set up: on a machine that has a device and no network.
gpu: ## what the engines do on this machine's GPU or NPU; ten minutes, no network, "Error 3" where there is none
	@$(IN_ROOT) PYTHONPATH=agent/src:crds/src:tests $(or $(PYTHON),$(if $(wildcard .venv/bin/python),.venv/bin/python,python3)) -m device.report

crds: set-up ## make the CustomResourceDefinitions in crds/ anew from the models
	@$(IN_ROOT) $(BIN)/python -m hpi_core.schema -o crds
	@$(IN_ROOT) PYTHONPATH=charts $(BIN)/python -m generator

chart: set-up ## make the generated part of charts/ anew from operator/src/hpi_operator/install and configs/
	@$(IN_ROOT) PYTHONPATH=charts $(BIN)/python -m generator

docs: set-up ## make operator/TROUBLESHOOTING.md and the schema of `kubectl hpi -o json` anew from the code
	@$(IN_ROOT) $(BIN)/python -m hpi_operator.kubectl.troubleshooting -o operator/TROUBLESHOOTING.md
	@$(IN_ROOT) $(BIN)/python -m hpi_operator.kubectl.schema -o operator/kubectl-hpi.schema.json

lock: set-up ## make the lists of configs/locks anew from pyproject.toml; some minutes
	@$(IN_ROOT) $(BIN)/python configs/locks/lock.py

set-up: ## .venv, and the environment that converts Paddle's models, for the targets above
	@$(IN_ROOT) $(SET_UP) tools agent-cpu demo operator test
	@$(IN_ROOT) $(BIN)/hpi-agent install paddle2onnx --store build/store

programs: set-up ## etcd, Kubernetes, kwok, helm and an OCI registry for the tests, built once into the user's cache; 20 minutes
	@$(IN_ROOT) PYTHONPATH=tests $(BIN)/python -m support.control_plane build
	@$(IN_ROOT) PYTHONPATH=tests $(BIN)/python -m support.oci_registry

clean: ## remove .venv, caches and what was built
	@$(IN_ROOT) rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@$(IN_ROOT) find agent crds operator tests configs -name __pycache__ -type d -prune -exec rm -rf {} +
