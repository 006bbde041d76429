"""Stage `verify`, per target: measures the file that ships and evaluates the gates."""

from __future__ import annotations

import logging

from nas_pipeline.config.schema.export import ExportSection
from nas_pipeline.config.schema.targets import TargetSection
from nas_pipeline.config.schema.verify import VerifySection
from nas_pipeline.core.files import read_json, write_json
from nas_pipeline.export.bundle import MODEL_FILE, read_bundle
from nas_pipeline.gates.verification import VerificationCase, verification_gates
from nas_pipeline.stages.context import Context
from nas_pipeline.stages.probe import open_probe

logger = logging.getLogger(__name__)


def run_verify(context: Context, *, export: ExportSection, verify: VerifySection, target: TargetSection) -> None:
    """Measures the file that ships and writes the result of every gate. A red gate is a result, not a failure."""
    device, folder = target.device(context.target), context.artefacts("export", context.target)
    bundle = read_bundle(folder)
    report = open_probe(context, verify, target).measure(folder / MODEL_FILE, device)
    validation = read_json(context.artefacts("validate") / "report.json")
    agreement = {"fp32": export.min_agreement_fp32, "int8": export.min_agreement_int8}
    results = verification_gates(VerificationCase(
        report, bundle, device, min_agreement=agreement[bundle.precision], max_int8_drop=export.max_int8_drop,
        data_valid=bool(validation["success"]),
    ))
    write_json(context.folder / "latency.json", report.to_json())
    write_json(context.folder / "gates.json", [result.to_json() for result in results])
    write_json(context.folder / "metrics.json", {
        "p50_ms": report.p50_ms, "p95_ms": report.p95_ms, "p99_ms": report.p99_ms, "spread": report.spread,
        "runs": report.runs, "green": sum(a.passed for a in results), "red": sum(not a.passed for a in results),
    })
    red = [result.gate for result in results if not result.passed]
    logger.info("%s: p95 %.3f ms (%s), %s", device.name, report.p95_ms, report.evidence,
                f"red: {', '.join(red)}" if red else "all gates green")
