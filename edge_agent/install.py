"""From a release that was chosen to one that is in use; and from wherever a power cut left off.

Each step is on the disk before the next one begins. The model in use stays in use until another one has passed its
probation, and then the link to it changes in one step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edge_agent.choose import Offer
from edge_agent.contract.model_check import UnsafeModelError, check_model
from edge_agent.errors import AgentError
from edge_agent.failpoints import reach
from edge_agent.fetch import Source, download
from edge_agent.slots import Slot, Slots, describe, sha256_of
from edge_agent.state import State
from edge_agent.watchdog import alive

TRIES: Final = 3
"""Of a release on a device; the last one that fails puts its file into quarantine."""


class Installer:
    """Changes what is in use.

    Args:
        state: What is remembered; changed and saved here.
        max_bytes: Of a model file.
    """

    def __init__(self, folder: Path, state: State, *, max_bytes: int) -> None:
        self.folder, self.state, self.slots = folder, state, Slots(folder)
        self.max_bytes = max_bytes

    def recover(self) -> None:
        """Finish a change of the link, and see that what it points to is what was signed.

        Raises:
            OSError: The disk does not take it.
        """
        state, slots = self.state, self.slots
        current, spare = slots.current(), slots.spare()
        wanted = state.work.get("sha256", "")
        if state.phase == "passed" and current is not None and current.card.sha256 == wanted and current.whole:
            return self._commit()
        if state.phase == "passed" and spare is not None and spare.card.sha256 == wanted and spare.whole:
            return self._flip()
        if current is not None and current.whole:
            if state.sha256 and current.card.sha256 != state.sha256:  # whoever serves could not open it, and went back
                self._reverted(current, "crashed", "the model in use could not be opened; the one before is in use")
            return None
        if slots.link.is_symlink() or state.sha256:
            if slots.revert():
                self._reverted(slots.current(), "tampered", "the file in use was not the signed one any more")
            else:
                slots.link.unlink(missing_ok=True)
                self._reverted(None, "tampered", "no file on the disk is a signed one any more")
        return None

    def adopt(self, offer: Offer) -> None:
        """The file in use, under a new counter.

        Raises:
            OSError: The disk does not take it.
        """
        current = self.slots.current()
        assert current is not None, "only what is in use can be adopted"
        describe(current.folder, offer.release, offer.card)
        self.state.counter, self.state.sha256 = offer.release.counter, offer.card.sha256
        self._settle("installed", about(offer))

    def install(self, offer: Offer, source: Source, url: str) -> None:
        """One try of a release; after a power cut or a broken download, the rest of it.

        Raises:
            AgentError: It is not in use: the download, a check or the try did not succeed.
            OSError: The disk does not take it.
        """
        sha256, work = offer.card.sha256, self.state.work
        tries = work.get("tries", 0) if work.get("sha256") == sha256 else 0
        self.state.work = {**about(offer), "tries": tries}
        if tries >= TRIES:
            raise self._quarantined(AgentError("interrupted", f"each of {TRIES} tries was cut off"))
        self._enter("checked")
        self._stage(offer, source, url)
        self._enter("staged")
        self.state.work["tries"] = tries + 1
        self._enter("probation")
        from edge_agent.probation import Limits, try_model  # here: what is idle has no need of them

        alive()
        try:
            figures = try_model(self.slots.other() / "model.onnx", offer.card, offer.release, limits=Limits())
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

    def _stage(self, offer: Offer, source: Source, url: str) -> None:
        sha256, spare = offer.card.sha256, self.slots.spare()
        if offer.length > self.max_bytes:
            raise self._quarantined(AgentError("unsafe_model", f"{offer.length} bytes are above {self.max_bytes}"))
        if spare is not None and spare.card.sha256 == sha256 and spare.whole:  # the one before, wanted again
            self._check(spare.onnx, offer)
            return describe(spare.folder, offer.release, offer.card)
        part = self.folder / "download" / f"{sha256}.part"
        for old in part.parent.glob("*.part"):
            if old != part:
                old.unlink()
        try:
            download(source, url, part, offer.length)
        except AgentError as error:
            if error.code != "disk_full" or spare is None:
                raise
            self.slots.clear()  # the fallback is worth less than the next release
            download(source, url, part, offer.length)
        self._enter("downloaded")
        if sha256_of(part) != sha256:
            part.unlink()
            raise AgentError("tampered", f"what came is not {sha256[:12]}: the server or a mirror is not honest")
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

    def _settle(self, event: str, what: dict[str, Any], figures: dict[str, float] | None = None) -> None:
        self.state.phase, self.state.work, self.state.refusal = "idle", {}, ""
        self._event(event, "", "", figures or {}, what)
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
               what: dict[str, Any] | None = None) -> None:
        what = what or {name: self.state.work[name] for name in ("counter", "sha256")}
        self.state.events.append(
            {"event": event, "code": code, "detail": detail[:500], "about": what, "probation": figures})


def about(offer: Offer) -> dict[str, Any]:
    """What an event is about."""
    return {"counter": offer.release.counter, "sha256": offer.card.sha256}
