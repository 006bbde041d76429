"""Installation of a release, with recovery from a power cut at any point.

Each step is on the disk before the next one begins. The model in use stays in use until the new one has passed its
probation; then the link to it is replaced atomically.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edge_agent.choose import Offer
from edge_agent.contract.model_check import UnsafeModelError, check_model
from edge_agent.disk import reach
from edge_agent.errors import AgentError
from edge_agent.fetch import Fetcher, download
from edge_agent.slots import Slot, Slots, describe, sha256_of
from edge_agent.state import AgentState
from edge_agent.watchdog import alive

TRIES: Final = 3
"""Tries of a release on a device; the last failure puts its file into quarantine."""


class Installer:
    """Installs releases and recovers interrupted installations.

    Args:
        folder: The state folder.
        state: The persistent state; changed and saved here.
        max_bytes: Largest allowed size of a model file.
    """

    def __init__(self, folder: Path, state: AgentState, *, max_bytes: int) -> None:
        self.folder, self.state, self.slots = folder, state, Slots(folder)
        self.max_bytes = max_bytes

    def recover(self) -> None:
        """Completes an interrupted change of the link, and checks that the file in use is the signed one.

        Raises:
            OSError: The state folder cannot be written.
        """
        state, slots = self.state, self.slots
        current, spare = slots.current(), slots.spare()
        wanted = state.work.get("sha256", "")
        if state.phase == "passed" and current is not None and current.card.sha256 == wanted and current.whole:
            return self._commit()
        if state.phase == "passed" and spare is not None and spare.card.sha256 == wanted and spare.whole:
            return self._flip()
        if current is not None and current.whole:
            if state.sha256 and current.card.sha256 != state.sha256:  # `nas-agent serve` could not open it and reverted
                self._reverted(current, "crashed", "the model in use could not be opened; the previous one is in use")
            return None
        if slots.link.is_symlink() or state.sha256:
            if slots.revert():
                self._reverted(slots.current(), "tampered", "the file in use was no longer the signed one")
            else:
                slots.link.unlink(missing_ok=True)
                self._reverted(None, "tampered", "no file on the disk is a signed one")
        return None

    def adopt(self, offer: Offer) -> None:
        """Gives the file in use a new counter.

        Raises:
            OSError: The state folder cannot be written.
        """
        current = self.slots.current()
        assert current is not None, "only a file that is in use can be adopted"
        describe(current.folder, offer.release, offer.card)
        self.state.counter, self.state.sha256 = offer.release.counter, offer.card.sha256
        self._settle("installed", about(offer))

    def install(self, offer: Offer, source: Fetcher, url: str) -> None:
        """Tries a release once; resumes after a power cut or an interrupted download.

        Raises:
            AgentError: The download, a check or the trial failed; the release is not in use.
            OSError: The state folder cannot be written.
        """
        sha256, work = offer.card.sha256, self.state.work
        tries = work.get("tries", 0) if work.get("sha256") == sha256 else 0
        self.state.work = {**about(offer), "tries": tries}
        if tries >= TRIES:
            raise self._quarantined(AgentError("interrupted", f"each of {TRIES} tries was interrupted"))
        self._enter("checked")
        self._stage(offer, source, url)
        self._enter("staged")
        self.state.work["tries"] = tries + 1
        self._enter("probation")
        from edge_agent.probation import Limits, try_model  # imported here: an idle agent does not need it

        alive()
        try:
            figures = try_model(self.slots.spare_folder() / "model.onnx", offer.card, offer.release, limits=Limits())
        except AgentError as error:
            if tries + 1 >= TRIES:
                raise self._quarantined(error) from error
            self.state.phase = "staged"
            self._event("failed", error.code, str(error), {**error.figures, "tries": float(tries + 1)})
            self.state.save(self.folder)
            raise
        self.state.work["figures"] = {**figures, "tries": float(tries + 1)}
        self._enter("passed")
        self._flip()

    def _stage(self, offer: Offer, source: Fetcher, url: str) -> None:
        sha256, spare = offer.card.sha256, self.slots.spare()
        if offer.length > self.max_bytes:
            raise self._quarantined(AgentError("unsafe_model", f"{offer.length} bytes are above {self.max_bytes}"))
        if spare is not None and spare.card.sha256 == sha256 and spare.whole:  # a return to the previous file
            self._check(spare.onnx, offer)
            return describe(spare.folder, offer.release, offer.card)
        part = self.folder / "download" / f"{sha256}.part"
        for stale in part.parent.glob("*.part"):
            if stale != part:
                stale.unlink()
        try:
            download(source, url, part, offer.length)
        except AgentError as error:
            if error.code != "disk_full" or spare is None:
                raise
            self.slots.clear()  # the next release is worth more than the previous one
            download(source, url, part, offer.length)
        self._enter("downloaded")
        if sha256_of(part) != sha256:
            part.unlink()
            raise AgentError("tampered", f"the downloaded file is not {sha256[:12]}: the server or a mirror changed it")
        self._check(part, offer)
        self._enter("verified")
        return self.slots.fill(part, offer.release, offer.card)

    def _check(self, onnx: Path, offer: Offer) -> None:
        try:
            check_model(onnx, max_bytes=self.max_bytes, max_opset=offer.release.opset)
        except UnsafeModelError as error:
            raise self._quarantined(AgentError("unsafe_model", str(error))) from error

    def _flip(self) -> None:
        self.slots.flip()
        reach("flipped")
        self._commit()

    def _commit(self) -> None:
        work = self.state.work
        self.state.counter, self.state.sha256 = work["counter"], work["sha256"]
        self.state.quarantine.pop(work["sha256"], None)
        self._settle("installed", {name: work[name] for name in ("counter", "sha256")}, work.get("figures", {}))
        reach("committed")

    def _settle(self, event: str, subject: dict[str, Any], figures: dict[str, float] | None = None) -> None:
        self.state.phase, self.state.work, self.state.refusal = "idle", {}, ""
        self._event(event, "", "", figures or {}, subject)
        self.state.save(self.folder)

    def _quarantined(self, error: AgentError) -> AgentError:
        work = self.state.work
        self.state.quarantine[work["sha256"]] = work["counter"]
        self._event("quarantined", error.code, str(error), {**error.figures, "tries": float(work["tries"])})
        self.state.phase, self.state.work = "idle", {}
        (self.folder / "download" / f"{work['sha256']}.part").unlink(missing_ok=True)
        self.state.save(self.folder)
        return error

    def _reverted(self, current: Slot | None, code: str, message: str) -> None:
        state = self.state
        if code == "crashed":
            state.quarantine[state.sha256] = state.counter
        self._event("reverted", code, message, {}, {"counter": state.counter, "sha256": state.sha256})
        state.sha256 = current.card.sha256 if current else ""
        state.phase, state.work = "idle", {}
        state.save(self.folder)

    def _enter(self, phase: str) -> None:
        self.state.phase = phase
        self.state.save(self.folder)
        alive()
        reach(phase)

    def _event(self, event: str, code: str, detail: str, figures: dict[str, float],
               subject: dict[str, Any] | None = None) -> None:
        subject = subject or {name: self.state.work[name] for name in ("counter", "sha256")}
        self.state.events.append(
            {"event": event, "code": code, "detail": detail[:500], "about": subject, "probation": figures})


def about(offer: Offer) -> dict[str, Any]:
    """Returns the field `about` of an event that concerns a release."""
    return {"counter": offer.release.counter, "sha256": offer.card.sha256}
