"""Publication of a pipeline run to MLflow: the runs, their content, and idempotence."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from nas_pipeline.core.files import sha256_file
from nas_pipeline.errors import ExportError, RegistryError
from nas_pipeline.registry.evidence import evidence_digest
from nas_pipeline.registry.publish import PublishedRun, publish
from nas_pipeline.registry.tags import COMPLETE
from tests.unit.registry.toy_artifacts import GENOTYPE, TRIALS

Shared = tuple[Path, PublishedRun]
Edit = Callable[[str, Callable[[Any], Any]], None]


@pytest.fixture(scope="session")
def client(store: str, shared: Shared) -> MlflowClient:
    return MlflowClient(tracking_uri=store)


def runs(client: MlflowClient, published: PublishedRun, role: str) -> list[str]:
    runs = client.search_runs(
        [published.experiment_id],
        f"tags.`pipeline.run_key` = '{published.run_key}' and tags.`pipeline.role` = '{role}'",
    )
    return [run.info.run_id for run in runs]


def test_the_parent_run_has_the_provenance(client: MlflowClient, shared: Shared) -> None:
    run = client.get_run(shared[1].run_id)
    assert client.get_experiment(run.info.experiment_id).name == "nas/toy-set"
    assert run.data.tags["genotype.id"] == GENOTYPE.id
    assert run.data.tags["git.commit"] == "abc"
    assert run.data.metrics["test_accuracy_mean"] == pytest.approx(0.8)
    assert run.info.status == "FINISHED"
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"genotype.json", "drawing.svg", "dataset.json", "report.json", "params.yaml", "dvc.lock"}


def test_data_set_is_an_input_of_the_parent(client: MlflowClient, shared: Shared) -> None:
    (used,) = client.get_run(shared[1].run_id).inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("toy-set", "d" * 36)
    assert json.loads(used.dataset.profile)["digest"] == "d" * 64
    assert json.loads(used.dataset.source) == {"source": "drawn"}


def test_search_is_one_run_whose_steps_are_trials(client: MlflowClient, shared: Shared) -> None:
    (run_id,) = runs(client, shared[1], "search")
    history = client.get_metric_history(run_id, "val_accuracy")
    assert [point.step for point in history] == [number for number in range(TRIALS) if number != 7]
    assert history[3].value == pytest.approx(0.53)
    files = {file.path for file in client.list_artifacts(run_id)}
    assert files == {"trials.json", "winner.json", "trials_table.json", "pareto.png"}


def test_the_best_twenty_trials_are_nested_runs(client: MlflowClient, shared: Shared) -> None:
    nested = [client.get_run(run_id) for run_id in runs(client, shared[1], "trial")]
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {shared[1].children["search"]}
    assert {run.info.run_name for run in nested} == {f"trial {number}" for number in range(8, 28)}


def test_retrain_has_the_curves_of_every_seed(client: MlflowClient, shared: Shared) -> None:
    run_id = shared[1].children["retrain"]
    assert [p.step for p in client.get_metric_history(run_id, "winner/seed-1/loss")] == [1, 2]
    assert client.get_run(run_id).data.params == {"seeds": "[0, 1]", "lr": "0.1"}


def test_export_has_the_gates_and_the_bytes_of_the_bundle(
    client: MlflowClient, shared: Shared, store: str
) -> None:
    root, published = shared
    tags = client.get_run(published.children["export/raspberry-pi-4"]).data.tags
    assert tags["gate.accuracy"] == "pass: 0.82 (bound 0.7)"
    assert tags["gate.latency"] == "fail: 1.2 (bound 1)"
    model = client.get_logged_model(published.models["local-cpu"])
    assert str(model.status) == "READY"
    files = {file.path for file in client.list_artifacts(published.children["export/local-cpu"])}
    assert files == {
        "bundle.json", "latency.json", "gates.json", "drawing.svg", "model_card.md", "model_card.html"
    }
    files_root = Path(store.removeprefix("sqlite:///")).parent / "mlruns"
    stored = next(files_root.rglob(f"{model.model_id}/**/model.onnx"))
    evidence = {path.name: path.read_bytes() for path in (stored.parent / "evidence").iterdir()}
    assert {*files, "dataset.json", "validation.json", "drift.json", "golden.npz"} == set(evidence)
    assert model.tags["evidence.sha256"] == evidence_digest(evidence)
    assert b"toy-set" in evidence["model_card.md"]
    assert sha256_file(stored) == sha256_file(root / "artifacts" / "export" / "local-cpu" / "model.onnx")
    assert not [path for path in files_root.rglob("*") if path.suffix in {".pkl", ".pickle", ".pt"}]


def test_mlflow_serves_the_model(shared: Shared, client: MlflowClient) -> None:
    location = client.get_logged_model(shared[1].models["local-cpu"]).artifact_location
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mlflow.pyfunc's own, at import
        served = mlflow.pyfunc.load_model(location)
        answer = served.predict(np.ones((2, 1, 4, 4), dtype=np.float32))
    assert answer["logits"].shape == (2, 3)


def test_publishing_twice_creates_one_run(client: MlflowClient, shared: Shared, store: str) -> None:
    root, first = shared
    again = publish(root, run_key=first.run_key, tags={}, tracking_uri=store)
    assert not again.created
    assert (again.run_id, again.children, again.models) == (first.run_id, first.children, first.models)
    assert runs(client, first, "pipeline") == [first.run_id]


def test_an_interrupted_publication_is_started_again(
    client: MlflowClient, workspace: Path, edit: Edit, store: str
) -> None:
    edit("search/trials.json", lambda trials: trials[:3])
    network = workspace / "artifacts" / "export" / "raspberry-pi-4" / "model.onnx"
    moved = network.rename(workspace / "moved")
    with pytest.raises(ExportError, match=r"model\.onnx"):
        publish(workspace, run_key="toy-set-2", tags={}, tracking_uri=store)
    moved.rename(network)
    whole = publish(workspace, run_key="toy-set-2", tags={}, tracking_uri=store, targets=["local-cpu"])
    client.delete_tag(whole.run_id, COMPLETE)  # as if the process had died before the last write
    again = publish(workspace, run_key="toy-set-2", tags={}, tracking_uri=store, targets=["local-cpu"])
    assert again.created
    assert again.run_id != whole.run_id
    assert runs(client, again, "pipeline") == [again.run_id]
    assert len(runs(client, again, "search")) == 1


def test_round_trip(shared: Shared) -> None:
    assert PublishedRun.from_json(json.loads(json.dumps(shared[1].to_json()))) == shared[1]


def test_missing_artefact_is_named(workspace: Path, store: str) -> None:
    (workspace / "artifacts" / "search" / "winner.json").unlink()
    with pytest.raises(RegistryError, match=r"winner\.json is missing"):
        publish(workspace, run_key="toy-set-3", tags={}, tracking_uri=store)
