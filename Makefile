# The commands of this repository. `make` without a target lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PROFILE ?= default
SET ?=
TARGET ?=
VERSION ?=
WHY ?=
TORCH ?= cpu
PORT ?= 4200
RUN ?=
PY := .venv/bin/python
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := true
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup pipeline promote fleet-demo repro test nightly check ui serve up down report readme-results check-report clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.done  ## create the virtual environment from the lock (TORCH=cuda for the GPU build of torch)

.venv/.done: requirements.lock pyproject.toml edge_agent/pyproject.toml docker/setup.sh
	@bash docker/setup.sh $(TORCH)

pipeline: setup  ## run the pipeline, from data to registered networks (PROFILE=smoke|full, SET="key.path=value ...")
	@nas pipeline --profile $(PROFILE) $(foreach pair,$(SET),--set '$(pair)')

promote: setup  ## make a version the champion if every gate is green (TARGET=..., VERSION=..., WHY="...", PROFILE=...)
	@nas promote --target '$(TARGET)' --profile $(PROFILE) $(if $(VERSION),--version $(VERSION)) $(if $(WHY),--why '$(WHY)')

fleet-demo: setup  ## deploy a candidate to twenty simulated devices, and roll back a bad release (PROFILE=...)
	@$(PY) -m benchmarks.fleet_demo --profile $(PROFILE) $(if $(TARGET),--target '$(TARGET)')

repro: setup  ## run the stages through `dvc repro`, without Prefect and MLflow
	@dvc repro

check: setup  ## run ruff, mypy --strict and import-linter
	@ruff check .
	@mypy
	@lint-imports

test: setup  ## run all tests but the nightly ones
	@$(PY) -m pytest -n 2 --dist loadgroup

nightly: setup  ## run the tests that take minutes: random kills, fuzzing, a large simulated fleet
	@$(PY) -m pytest -n 2 --dist loadgroup -m nightly

ui: setup  ## start MLflow on port 5000 and Prefect on port 4200, on the loopback interface; Ctrl-C stops both
	@$(PY) -m flows.ports MLflow=5000 Prefect=4200
	@trap 'kill 0' INT TERM; \
	mlflow server --host 127.0.0.1 --port 5000 --workers 1 --backend-store-uri sqlite:///mlflow.db & \
	PREFECT_HOME=$(CURDIR)/.prefect PREFECT_UI_ENABLED=true PREFECT_SERVER_UI_ENABLED=true prefect server start --host 127.0.0.1 --port 4200 & wait

serve: setup  ## run the schedules of prefect.yaml on this machine, with Prefect's UI on port 4200 (PORT=...)
	@$(PY) -m flows.serve --port $(PORT)

up:  ## start all services in containers, for a server: docs/containers.md
	@bash docker/up.sh up

down:  ## stop the containers; their volumes remain
	@bash docker/up.sh down

report: setup  ## write the report (reports/index.html) of the last run again and print its summary (PROFILE=...)
	@nas report --profile $(PROFILE)

readme-results: setup  ## write the results in README.md from a whole run (RUN=FOLDER for a run in another clone)
	@$(PY) -m benchmarks.readme_results $(if $(RUN),--run '$(RUN)')

check-report: setup  ## check a report page in headless Chromium: no console message, no request (PAGE=FILE for another page)
	@bash docker/browser.sh
	@if [ -n "$(PAGE)" ]; then $(PY) benchmarks/report_browser.py "$(PAGE)"; \
	else $(PY) -m tests.unit.report.toy_run .nas/toy-report && $(PY) benchmarks/report_browser.py .nas/toy-report/reports/index.html; fi

clean:  ## remove artefacts and working state, but not downloads, the DVC cache and MLflow's runs
	@rm -rf artifacts reports .nas/search .nas/retrain .nas/work .nas/toy-report .nas/command.json .nas/progress .nas/last-run.json .nas/precision.json
