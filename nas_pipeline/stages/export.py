"""Stage `export`, per target: chooses the file that ships and records what is known of it."""

from __future__ import annotations

import logging
import statistics
import tempfile
from pathlib import Path
from typing import Any

from nas_pipeline.config.schema.export import ExportSection
from nas_pipeline.config.schema.targets import TargetSection
from nas_pipeline.config.schema.verify import VerifySection
from nas_pipeline.core.files import read_json, sha256_file, write_json
from nas_pipeline.core.records import TargetDevice, TrainResult
from nas_pipeline.data.loaders import load_calib, load_manifest, load_val, normalise
from nas_pipeline.export.bundle import write_bundle
from nas_pipeline.export.choose import Candidate, choose
from nas_pipeline.export.drift_reference import drift_reference, write_drift_reference
from nas_pipeline.export.golden import make_golden, write_golden
from nas_pipeline.export.parity import parity
from nas_pipeline.export.session import accuracy
from nas_pipeline.export.val_predictions import predict_val, write_val_predictions
from nas_pipeline.stages.context import Context
from nas_pipeline.stages.probe import open_probe
from nas_pipeline.stages.scoring import export_candidates
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.retrain import load_trained_network

logger = logging.getLogger(__name__)


def run_export(context: Context, *, export: ExportSection, verify: VerifySection, target: TargetSection) -> None:
    """Writes the file that ships to this target, its bundle, golden vectors and drift reference."""
    device, data = target.device(context.target), context.artefacts("ingest")
    result = TrainResult.from_json(read_json(context.artefacts("retrain") / "result.json"))
    manifest, val = load_manifest(data), load_val(data)
    images, calib = normalise(val.images, manifest), normalise(load_calib(data).images, manifest)
    weights = context.artefacts("retrain") / "weights.safetensors"
    net = load_trained_network(result.genotype, manifest, weights, Recipe(**result.recipe))
    with tempfile.TemporaryDirectory() as folder:
        paths = export_candidates(net, manifest.spec, device.opset, calib, export.calibration, Path(folder))
        probe = open_probe(context, verify, target)
        candidates = {
            precision: Candidate(
                precision=precision, path=path, sha256=sha256_file(path), size_bytes=path.stat().st_size,
                val_accuracy=accuracy(path, images, val.labels), p95_ms=probe.measure(path, device).p95_ms,
                parity=parity(net, path, images),
            )
            for precision, path in paths.items()
        }
        choice = choose(list(candidates.values()), device, int8_drop=export.max_int8_drop)
        chosen = choice.chosen
        for precision, reason in choice.reasons.items():
            logger.info("%s %s: %s", device.name, precision, reason)
        predictions = predict_val(chosen.path, images, val.labels, val.images)
        write_val_predictions(context.folder, predictions)
        write_drift_reference(context.folder, drift_reference(predictions, val.images, manifest.spec.classes))
        golden = make_golden(chosen.path, val.images, manifest.mean, manifest.std)
        write_golden(context.folder, golden)
        metrics = {
            "val_accuracy": chosen.val_accuracy, "fp32_val_accuracy": candidates["fp32"].val_accuracy,
            "params": float(result.params), "macs": float(result.macs),
            **{f"{name}_p95_ms": item.p95_ms for name, item in candidates.items()},
            **{f"{name}_size_bytes": float(item.size_bytes) for name, item in candidates.items()},
            **_test_accuracy(context.artefacts("retrain") / "files.json", chosen, device),
        }
        bundle = write_bundle(
            context.folder, model=chosen.path, target=device.name, genotype=result.genotype, spec=manifest.spec,
            precision=chosen.precision, metrics=metrics, parity=chosen.parity,
            provenance={"dataset": manifest.digest, "recipe": result.recipe, "choice": choice.reasons,
                        "class_names": list(manifest.class_names), "mean": manifest.mean, "std": manifest.std},
        )
    write_json(context.folder / "metrics.json", {**bundle.metrics, "top1_agreement": bundle.parity.top1_agreement})


def _test_accuracy(path: Path, chosen: Candidate, target: TargetDevice) -> dict[str, float]:
    """Returns the test accuracy of this file, and over the seeds in its precision, as `retrain` measured them."""
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
