# Everything a person types. `make` alone prints this list.
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

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.done  ## virtual environment from the lock (TORCH=cuda for the GPU build of torch)

.venv/.done: requirements.lock pyproject.toml edge_agent/pyproject.toml docker/setup.sh
	@bash docker/setup.sh $(TORCH)

pipeline: setup  ## data to registered networks (PROFILE=smoke|full, SET="key.path=value ...")
	@nas pipeline --profile $(PROFILE) $(foreach pair,$(SET),--set '$(pair)')

promote: setup  ## a version to champion, if every gate is green (TARGET=..., VERSION=..., WHY="...", PROFILE=...)
	@nas promote --target '$(TARGET)' --profile $(PROFILE) $(if $(VERSION),--version $(VERSION)) $(if $(WHY),--why '$(WHY)')

fleet-demo: setup  ## a candidate to twenty devices that serve it, a bad release rolled back; on this machine (PROFILE=...)
	@$(PY) -m benchmarks.fleet_demo --profile $(PROFILE) $(if $(TARGET),--target '$(TARGET)')

repro: setup  ## the same stages through `dvc repro`, without Prefect and MLflow
	@dvc repro

check: setup  ## ruff, mypy --strict, import layers
	@ruff check .
	@mypy
	@lint-imports

test: setup  ## all tests
	@$(PY) -m pytest -n 2 --dist loadgroup

nightly: setup  ## the tests that take minutes: random kills, fuzzing, a large simulated fleet
	@$(PY) -m pytest -n 2 --dist loadgroup -m nightly

ui: setup  ## MLflow on port 5000 and Prefect on port 4200, this machine only; Ctrl-C ends both
	@$(PY) -m flows.ports MLflow=5000 Prefect=4200
	@trap 'kill 0' INT TERM; \
	mlflow server --host 127.0.0.1 --port 5000 --workers 1 --backend-store-uri sqlite:///mlflow.db & \
	PREFECT_HOME=$(CURDIR)/.prefect PREFECT_UI_ENABLED=true PREFECT_SERVER_UI_ENABLED=true prefect server start --host 127.0.0.1 --port 4200 & wait

serve: setup  ## the schedules of prefect.yaml on this machine, with Prefect's pages on port 4200 (PORT=...)
	@$(PY) -m flows.serve --port $(PORT)

up:  ## everything in containers, for a server: docs/containers.md
	@bash docker/up.sh up

down:  ## end the containers; their volumes stay
	@bash docker/up.sh down

report: setup  ## the page (reports/index.html) and the summary of the last run again (PROFILE=...)
	@nas report --profile $(PROFILE)

readme-results: setup  ## the results in README.md, from a whole run (RUN=FOLDER for one in another clone)
	@$(PY) -m benchmarks.readme_results $(if $(RUN),--run '$(RUN)')

check-report: setup  ## a report page in headless Chromium: no message, no request (PAGE=FILE for one of yours)
	@bash docker/browser.sh
	@if [ -n "$(PAGE)" ]; then $(PY) benchmarks/report_browser.py "$(PAGE)"; \
	else $(PY) -m tests.unit.report.toy_run .nas/toy-report && $(PY) benchmarks/report_browser.py .nas/toy-report/reports/index.html; fi

clean:  ## remove artefacts and working state; downloads, the DVC cache and MLflow's runs stay
	@rm -rf artifacts reports .nas/search .nas/retrain .nas/work .nas/toy-report .nas/command.json .nas/progress .nas/last-run.json .nas/precision.json
