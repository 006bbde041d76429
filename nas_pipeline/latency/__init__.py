"""Catalogue of probes: the ways to know a latency. Timing runs in fresh processes, so this package imports no torch."""

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.core.protocols import Probe
from nas_pipeline.latency.probes.agent import AgentProbe
from nas_pipeline.latency.probes.local import LocalProbe
from nas_pipeline.latency.probes.proxy import ProxyProbe

PROBES: Catalog[Probe] = Catalog("probe", {"local": LocalProbe, "proxy": ProxyProbe, "agent": AgentProbe})
