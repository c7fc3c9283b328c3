# `make demo` and `make test` do all set-up themselves.
VENV ?= .venv
BIN := $(VENV)/bin
export VENV

.PHONY: audit sbom demo up test check chaos-rules bench chaos-router bundle image-trial offline-trial readme-trial schemas locks clean setup-run setup-dev help

help:            ## these lines
	@grep -E '^[a-z-]+: .*##' Makefile | sed 's/: .*## /\t/'

demo: setup-run  ## watch a synthetic yard for a minute: cameras, alerts, and a table against the truth
	@$(BIN)/backsight demo $(ARGS)

up: setup-run    ## run the pipeline with the documents in configs/ (ARGS="--configs FOLDER")
	@$(BIN)/backsight up $(ARGS)

# Most tests wait for processes of their own, so three at a time keep two cores busy. The slow folders come first.
test: setup-dev  ## every test; those whose service is missing skip, in CI they fail (ARGS="-k name", WORKERS=1)
	$(BIN)/python -m pytest -n $(or $(WORKERS),3) --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup-dev ## formatting, lint, types, import contracts, known vulnerabilities, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint deploy/docker/Dockerfile
	$(BIN)/python -m deploy.audit
	$(BIN)/python -m schemas.generate --check
	$(BIN)/python -m cli.reference --check
	$(BIN)/python -m runtime.metrics_page --check
	$(BIN)/python -m cli.scaling_page --check
	$(BIN)/python -m deploy.grafana.generate --check

audit: setup-dev ## whether a locked dependency is known to be vulnerable, where a service that knows can be asked
	$(BIN)/python -m deploy.audit

sbom: setup-dev  ## what is shipped, as CycloneDX: build/sbom.cdx.json
	mkdir -p build
	$(BIN)/cyclonedx-py requirements --no-validate --pyproject pyproject.toml --output-reproducible --of JSON \
		-o build/sbom.cdx.json requirements/run.lock

chaos-rules: setup-dev ## half an hour of history, rules workers killed twenty times (SEED=… for other moments)
	BACKSIGHT_LONG=1 BACKSIGHT_SEED=$(or $(SEED),7) $(BIN)/python -m pytest tests/chaos/test_golden.py -s $(ARGS)

bundle: setup-dev ## one file to install from without internet, in build/ (docs/offline.md)
	$(BIN)/python -m deploy.bundle $(ARGS)

offline-trial: setup-dev ## install from a bundle in a clean Debian without a network, and run the demo there (root, debootstrap)
	rm -f build/backsight-*.tar
	$(BIN)/python -m deploy.bundle
	$(BIN)/python -m deploy.trial.offline build/backsight-*.tar

image-trial: setup-dev ## the recipe's steps without Docker, in a root filesystem, and the image's commands in it (root; ARGS="--target cuda")
	$(BIN)/python -m deploy.trial.image $(ARGS)

readme-trial: setup-dev ## follow the README in a clean Debian, and write docs/tried.md (root, debootstrap, GStreamer's RTSP server)
	$(BIN)/python -m deploy.trial.readme $(ARGS)

bench: setup-dev ## the measured figures, both sides in one run
	$(BIN)/python -m tests.bench $(ARGS)

chaos-router: setup-dev ## kill, stop and hang the router; lost, doubled, recovery times (ARGS="--small", --hang 60)
	$(BIN)/python -m tests.chaos.router_chaos $(ARGS)

schemas: setup-dev ## write schemas/json, schemas/asyncapi.yaml, KafkaTopics and the generated docs from the code
	$(BIN)/python -m schemas.generate
	$(BIN)/python -m cli.reference
	$(BIN)/python -m cli.scaling_page

LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --quiet pyproject.toml
locks: setup-dev ## pin every dependency anew, with hashes
	$(LOCK) --extra java --extra archive --extra notify --extra s3 --extra tracing --extra setup -o requirements/run.lock
	$(LOCK) -c requirements/run.lock --extra archive --extra notify --extra s3 --extra tracing --extra dev -o requirements/dev.lock
	$(LOCK) -c requirements/dev.lock --extra archive --extra notify --extra s3 --extra tracing --extra dev --extra ultralytics -o requirements/ultralytics.lock
	$(LOCK) -c requirements/run.lock --excludes requirements/cpu.exclude $(IMAGE) -o requirements/cpu.lock
	$(LOCK) -c requirements/ultralytics.lock --excludes requirements/cuda.exclude $(IMAGE) --extra cuda --extra ultralytics -o requirements/cuda.lock
IMAGE := --extra archive --extra notify --extra s3 --extra tracing --extra headless --extra setup

clean:           ## stop the local Kafka and remove what was built and run here
	-[ -x $(BIN)/backsight ] && $(BIN)/backsight kafka down
	rm -rf $(VENV) .venv-ultralytics var build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup-run setup-dev: setup-%:
	@deploy/setup.sh $*
