"""The catalogue of probes, and the check that a probe's report is what the probe declares.

Timing runs in fresh processes that do not import torch.
"""

from pathlib import Path

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.core.files import sha256_file
from nas_pipeline.core.protocols import Probe
from nas_pipeline.core.records import Evidence, LatencyReport, TargetDevice
from nas_pipeline.errors import LatencyError
from nas_pipeline.latency.probes.agent import AgentProbe
from nas_pipeline.latency.probes.local import LocalProbe
from nas_pipeline.latency.probes.proxy import ProxyProbe

PROBES: Catalog[Probe] = Catalog(
    "probe", {"local": LocalProbe, "proxy": ProxyProbe, "agent": AgentProbe}, entry_points="nas_pipeline.probes"
)
"""Name in params.yaml -> probe."""


class CheckedProbe:
    """A probe whose reports are compared with what the probe declares and with the file that it was given.

    A probe declares the kind of its evidence as a class attribute `evidence`. Without one it is `predicted`, which
    passes no gate, so no probe gives `measured` evidence by accident.
    """

    def __init__(self, probe: Probe) -> None:
        """`probe` does the measuring."""
        self._probe = probe
        self.evidence: Evidence = getattr(probe, "evidence", "predicted")

    def key(self) -> dict[str, object]:
        """The key of the probe."""
        return self._probe.key()

    def measure(self, model: Path, target: TargetDevice) -> LatencyReport:
        """Returns the report of the probe.

        Raises:
            LatencyError: The file cannot be run, or the report claims another kind of evidence than the probe
                declares, is about another file, or is marked `measured` without any timings.
        """
        sha256 = sha256_file(model) if model.is_file() else None
        report = self._probe.measure(model, target)
        name = f"probe {target.probe!r}"
        if report.evidence != self.evidence:
            raise LatencyError(f"{name} declares {self.evidence} evidence and returned {report.evidence}; make its "
                               "class attribute `evidence` and its reports agree")
        if report.model_sha256 != sha256:
            raise LatencyError(f"{name} reported on another file (sha256 {report.model_sha256[:12]}) than {model}")
        if report.evidence == "measured" and not (report.quantiles_ms and report.runs and report.host.get("id")):
            raise LatencyError(f"{name} returned measured evidence without timings or without the id of the device")
        return report
