"""The probe of a target, as the stages `export` and `verify` both open it."""

from __future__ import annotations

from nas_pipeline.config.schema.targets import TargetSection
from nas_pipeline.config.schema.verify import VerifySection
from nas_pipeline.core.protocols import Probe
from nas_pipeline.latency.probes import PROBES, CheckedProbe
from nas_pipeline.stages.context import Context


def open_probe(context: Context, verify: VerifySection, target: TargetSection) -> Probe:
    """Returns the target's probe, with the measurement settings of section `verify`."""
    options = verify.model_dump()
    return CheckedProbe(PROBES.make(target.probe, target.options, work=context.work / "latency", **options))
