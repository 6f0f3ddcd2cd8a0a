# Each target sets up what it needs in .venv; nothing is installed outside this folder.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# A file's tests share what they start, so a worker takes a whole file. The third worker works while tests wait.
# A test in which a Kafka client of the service deadlocked is repeated, and reported as repeated.
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
  --reruns 1 --only-rerun DeadClientError

# One BLAS thread: the products are small, and a number measured should mean one core.
export OMP_NUM_THREADS ?= 1
# Without bytecode each of the tests' processes compiles the whole service again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(STAMP) ## Install everything into .venv, from the lock

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Python is missing. Remedy: install Python 3.11 or later, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$$($(PYTHON) --version) is too old. Remedy: make PYTHON=python3.11 (or later)"; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version); the first time takes a minute or two"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "The environment cannot be created. Remedy on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Step 1 of 2: installing $$(grep -c '^[a-z].*==' requirements.lock) locked dependencies"
	@log=$(VENV)/install.log; seconds=0; \
	  $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements.lock >$$log 2>&1 & \
	  trap "kill $$!; exit 130" INT TERM; while kill -0 $$! 2>/dev/null; do sleep 1; seconds=$$((seconds + 1)); \
	    [ $$((seconds % 5)) -ne 0 ] || printf '  %3d s: %s\n' $$seconds "$$(tail -n 1 $$log | cut -c 1-90)"; \
	  done; wait $$! || { tail -n 20 $$log; exit 1; }
	@echo "Step 2 of 2: installing driftgauge itself"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: demo
demo: $(STAMP) ## Run the main job on this machine alone: three weeks of images (KEEP=1 keeps the page up)
	@$(BIN)/python -m deploy.demo $(if $(KEEP),--keep)

.PHONY: test
test: $(STAMP) ## Run the unit tests and a smoke test of the whole service; no Java, no network (ARGS=FILE for one file)
	@$(PYTEST) -m "not broker and not stack" $(ARGS)

# Three workers, because these tests mostly wait.
.PHONY: test-broker
test-broker: $(STAMP) ## Run the tests on a real Kafka broker, a short chaos run included (needs Java 17 and Maven; ARGS)
	@$(PYTEST) -m broker $(ARGS)

.PHONY: test-stack
test-stack: $(STAMP) ## Run deploy/, the README and the page on real Prometheus, Helm, Kafka, Chromium (needs all of them; ARGS)
	@$(PYTEST) -m stack $(ARGS)

.PHONY: test-kubernetes
test-kubernetes: $(STAMP) ## Install the chart on a real Kubernetes of one node, built once (root on Linux; 10 minutes, then 5)
	@$(BIN)/python -m tests.kubernetes.run

.PHONY: check
check: $(STAMP) ## Check format, lint, types, imports and generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=service $(BIN)/lint-imports --no-cache
	@$(BIN)/python -m deploy.generate --check
	@$(BIN)/python -m tests.tools.lock

.PHONY: format
format: $(STAMP) ## Format the code and fix what lint can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: generate
generate: $(STAMP) ## Write the generated files: schemas, the reference, rules, manifests, dashboards
	@$(BIN)/python -m deploy.generate

.PHONY: lock
lock: $(STAMP) ## Resolve the dependencies again, within the ranges of pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --upgrade --quiet --output-file requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra registry --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --constraints requirements.lock --quiet \
	  --output-file deploy/docker/requirements.lock
	@echo 'hatchling>=1.27' | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --constraints requirements.lock --quiet \
	  --output-file deploy/docker/build.lock

SBOM ?= dist/driftgauge.cdx.json
.PHONY: sbom
sbom: $(STAMP) ## List the image's Python packages as CycloneDX, from its lock (SBOM=FILE)
	@mkdir -p $(dir $(SBOM))
	@$(BIN)/python -W ignore -m cyclonedx_py requirements deploy/docker/requirements.lock --pyproject pyproject.toml \
	  --output-reproducible --output-file $(SBOM)

.PHONY: bench
bench: $(STAMP) ## Measure the core, mutated records and the page (the page needs Java 17 and Maven)
	@$(BIN)/python -m tests.bench.core
	@$(BIN)/python -m tests.bench.mutated
	@$(BIN)/python -m tests.bench.page

.PHONY: inputs
inputs: $(STAMP) ## Measure reading by encoding beside Kafka's client alone, on a real broker (10 GB of disk, half an hour; ARGS)
	@$(BIN)/python -m tests.bench.inputs $(ARGS)

.PHONY: scale
scale: $(STAMP) ## Measure what one of many replicas costs: 1,000 streams, up to 50 replicas (10 minutes; ARGS)
	@$(BIN)/python -m tests.bench.scale $(ARGS)

.PHONY: bursts
bursts: $(STAMP) ## Measure a burst of panes with the alerts live (SCENARIO=panes, days, outage or slow; 10 to 30 minutes; ARGS)
	@$(BIN)/python -m tests.bench.bursts $(or $(SCENARIO),panes) $(ARGS)

.PHONY: soak
soak: $(STAMP) ## Run a replica for two hours in which 30 days of event time pass: memory level, counts exact (ARGS)
	@$(BIN)/python -m tests.bench.soak $(ARGS)

.PHONY: evidence
evidence: $(STAMP) ## Measure false alarms, power by kind, spoiled baselines and false pages (an hour and more; ARGS)
	@$(BIN)/python -m tests.bench.false_alarms $(ARGS)
	@$(BIN)/python -m tests.bench.power $(ARGS)
	@$(BIN)/python -m tests.bench.dependence texts $(ARGS)
	@$(BIN)/python -m tests.bench.spoiled $(ARGS)
	@$(BIN)/python -m tests.bench.traffic pages $(ARGS)

.PHONY: simulate
simulate: $(STAMP) ## Simulate both stages with drawn configurations, up to metrics and page (SECONDS=600, SEED=N)
	@$(BIN)/python -m tests.simulation --seconds $(or $(SECONDS),600) --seed $(or $(SEED),$$(date +%s))

.PHONY: chaos
chaos: $(STAMP) ## Disrupt replicas and brokers under load for half an hour, then compare every count (BROKERS=3, SEED=N)
	@$(BIN)/python -m tests.chaos.run $(if $(BROKERS),--brokers $(BROKERS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: mutations
mutations: $(STAMP) ## Take each guard out of the service, and see that a chaos run notices (half an hour)
	@$(BIN)/python -m tests.chaos.mutations $(ARGS)

.PHONY: mutants
mutants: $(STAMP) ## Judge the unit tests: which mutants of the service do they notice? (an hour; ARGS=--compare)
	@$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: pictures
pictures: $(STAMP) ## Draw the documents' pictures of the page (needs Chromium)
	@$(BIN)/python -m tests.tools.pictures

.PHONY: kafka
kafka: $(STAMP) ## Run a real Kafka broker on 127.0.0.1:9092 until Ctrl-C (needs Java 17 and Maven; PORT)
	@$(BIN)/python -m tests.harness.by_hand broker $(if $(PORT),--port $(PORT))

.PHONY: registry
registry: $(STAMP) ## Run a schema registry, Apicurio's, on 127.0.0.1:8081 until Ctrl-C (needs Java 17 and Maven; PORT)
	@$(BIN)/python -m tests.harness.by_hand registry $(if $(PORT),--port $(PORT))

.PHONY: clean
clean: ## Remove the environment and everything generated at run time
	@rm -rf $(VENV) demo-out tests/kafka/target .mypy_cache .ruff_cache .pytest_cache .hypothesis
