"""Export and verify, per target."""

from __future__ import annotations

import logging
import statistics
import tempfile
from pathlib import Path
from typing import Any

from nas_pipeline.core.files import read_json, sha256_file, write_json
from nas_pipeline.core.protocols import Probe
from nas_pipeline.core.records import TargetDevice, TrainResult
from nas_pipeline.data.loaders import load_calib, load_manifest, load_val, normalise
from nas_pipeline.export.accuracy import accuracy
from nas_pipeline.export.bundle import MODEL_FILE, read_bundle, write_bundle
from nas_pipeline.export.choose import Candidate, choose
from nas_pipeline.export.drift_reference import drift_reference, write_drift_reference
from nas_pipeline.export.golden import make_golden, write_golden
from nas_pipeline.export.parity import parity
from nas_pipeline.export.val_predictions import predict_val, write_val_predictions
from nas_pipeline.gates.verification import VerificationCase, verification_gates
from nas_pipeline.latency import PROBES
from nas_pipeline.stages.context import Context
from nas_pipeline.stages.scoring import export_candidates
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.retrain import load_finished

logger = logging.getLogger(__name__)


def run_export(context: Context) -> None:
    """Weights -> the one file that ships to this target, and what is known of it."""
    target, data, params = context.the_target(), context.artefacts("ingest"), context.params.export
    result = TrainResult.from_json(read_json(context.artefacts("retrain") / "result.json"))
    manifest, val = load_manifest(data), load_val(data)
    images, calib = normalise(val.images, manifest), normalise(load_calib(data).images, manifest)
    weights = context.artefacts("retrain") / "weights.safetensors"
    net = load_finished(result.genotype, manifest, weights, Recipe(**result.recipe))
    with tempfile.TemporaryDirectory() as folder:
        paths = export_candidates(net, manifest.spec, target.opset, calib, params.calibration, Path(folder))
        probe = _probe(context)
        candidates = {
            precision: Candidate(
                precision=precision, path=path, sha256=sha256_file(path), size_bytes=path.stat().st_size,
                val_accuracy=accuracy(path, images, val.labels), p95_ms=probe.measure(path, target).p95_ms,
                parity=parity(net, path, images),
            )
            for precision, path in paths.items()
        }
        choice = choose(list(candidates.values()), target, int8_drop=params.max_int8_drop)
        chosen = choice.chosen
        for precision, reason in choice.reasons.items():
            logger.info("%s %s: %s", target.name, precision, reason)
        said = predict_val(chosen.path, images, val.labels, val.images)
        write_val_predictions(context.folder, said)
        write_drift_reference(context.folder, drift_reference(said, val.images, manifest.spec.classes))
        golden = make_golden(chosen.path, val.images, manifest.mean, manifest.std)
        write_golden(context.folder, golden)
        metrics = {
            "val_accuracy": chosen.val_accuracy, "fp32_val_accuracy": candidates["fp32"].val_accuracy,
            "params": float(result.params), "macs": float(result.macs),
            **{f"{name}_p95_ms": item.p95_ms for name, item in candidates.items()},
            **{f"{name}_size_bytes": float(item.size_bytes) for name, item in candidates.items()},
            **_test_accuracy(context.artefacts("retrain") / "files.json", chosen, target),
        }
        bundle = write_bundle(
            context.folder, model=chosen.path, target=target.name, genotype=result.genotype, spec=manifest.spec,
            precision=chosen.precision, metrics=metrics, parity=chosen.parity,
            provenance={"dataset": manifest.digest, "recipe": result.recipe, "choice": choice.reasons,
                        "class_names": list(manifest.class_names), "mean": manifest.mean, "std": manifest.std},
        )
    write_json(context.folder / "metrics.json", {**bundle.metrics, "top1_agreement": bundle.parity.top1_agreement})


def run_verify(context: Context) -> None:
    """The file that ships, measured; every gate's answer written down. A red gate is an answer, not a failure."""
    target, params = context.the_target(), context.params
    folder = context.artefacts("export", target.name)
    bundle = read_bundle(folder)
    report = _probe(context).measure(folder / MODEL_FILE, target)
    validation = read_json(context.artefacts("validate") / "report.json")
    agreement = {"fp32": params.export.min_agreement_fp32, "int8": params.export.min_agreement_int8}
    answers = verification_gates(VerificationCase(
        report, bundle, target, min_agreement=agreement[bundle.precision], max_int8_drop=params.export.max_int8_drop,
        data_valid=bool(validation["success"]),
    ))
    write_json(context.folder / "latency.json", report.to_json())
    write_json(context.folder / "gates.json", [answer.to_json() for answer in answers])
    write_json(context.folder / "metrics.json", {
        "p50_ms": report.p50_ms, "p95_ms": report.p95_ms, "p99_ms": report.p99_ms, "spread": report.spread,
        "runs": report.runs, "green": sum(a.passed for a in answers), "red": sum(not a.passed for a in answers),
    })
    red = [answer.gate for answer in answers if not answer.passed]
    logger.info("%s: p95 %.3f ms (%s), %s", target.name, report.p95_ms, report.evidence,
                f"red: {', '.join(red)}" if red else "all gates green")


def _probe(context: Context) -> Probe:
    target = context.the_target()
    options = context.params.targets[target.name].options
    return PROBES.make(target.probe, options, work=context.work / "latency", **context.params.verify.model_dump())


def _test_accuracy(path: Path, chosen: Candidate, target: TargetDevice) -> dict[str, float]:
    """Of this very file, and over the seeds in this precision: as measured when the test split was read."""
    files: dict[str, dict[str, dict[str, Any]]] = read_json(path)
    same = [entry["accuracy"] for run in files.values() for entry in run.values()
            if entry["precision"] == chosen.precision and entry["opset"] == target.opset]
    own = [run[chosen.sha256]["accuracy"] for run in files.values() if chosen.sha256 in run]
    if not own:
        logger.warning("%s: the exported file differs from the one that retrain measured; no test accuracy is claimed",
                       target.name)
        return {}
    spread = statistics.stdev(same) if len(same) > 1 else 0.0
    return {"test_accuracy": own[0], "test_accuracy_mean": statistics.fmean(same), "test_accuracy_std": spread,
            "test_seeds": float(len(same))}
