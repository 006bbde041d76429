"""A device's key and what it signs: with the same library as the agent."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from edge_agent.contract.wire import REPORT_TYPE, Report, canonical
from nas_pipeline.fleet.reports.signed import Enrolment
from tests.unit.fleet.toy_fleet import TARGET, report


class ToyDevice:
    def __init__(self, name: str = "pi-1", target: str = TARGET) -> None:
        self.name, self.target, self.signer, self.seq = name, target, CryptoSigner.generate_ed25519(), 0

    @property
    def line(self) -> str:
        """What `nas-agent init` prints."""
        key = self.signer.public_key
        return json.dumps({"device": self.name, "target": self.target, "keyid": key.keyid, "key": key.to_dict()})

    @property
    def enrolment(self) -> Enrolment:
        return Enrolment(**json.loads(self.line))

    def signs(self, said: Report | bytes, kind: str = REPORT_TYPE) -> bytes:
        envelope = Envelope(said if isinstance(said, bytes) else canonical(asdict(said)), kind, {})
        envelope.sign(self.signer)
        return json.dumps(envelope.to_dict()).encode()

    def says(self, event: str = "installed", **more: Any) -> bytes:
        """The next report."""
        self.seq += 1
        return self.signs(report(self.name, more.pop("seq", self.seq), event, **{"target": self.target, **more}))
