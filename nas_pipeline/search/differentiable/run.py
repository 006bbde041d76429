"""One differentiable search, from the data and a seed to one derived genotype; it can be resumed after a kill.

On a CPU the genotype is a function of the settings, the data and the seed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from nas_pipeline.core.files import canonical_json, read_json, sha256_text, write_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.data.loaders import SearchData
from nas_pipeline.errors import TrainError
from nas_pipeline.search.differentiable.bilevel_split import BilevelSplit
from nas_pipeline.search.differentiable.derivation.cost_model import DeploymentCosts, cost_models, hard_bounds
from nas_pipeline.search.differentiable.derivation.discretisation import genotype_from, strengths_of_row
from nas_pipeline.search.differentiable.derivation.integer_program import strongest
from nas_pipeline.search.differentiable.derivation.trial_removal import picks_by_perturbation
from nas_pipeline.search.differentiable.epoch import Epoch
from nas_pipeline.search.differentiable.guards import GuardVerdict, apply_guards
from nas_pipeline.search.differentiable.network.search_network import SearchNetwork
from nas_pipeline.search.differentiable.search_state import SearchState, SearchStateFiles
from nas_pipeline.search.differentiable.settings import Settings
from nas_pipeline.search.differentiable.steps import Bilevel
from nas_pipeline.search.differentiable.variants import Variant
from nas_pipeline.search.protocols import Derived
from nas_pipeline.train.device import DeviceClock, on_device
from nas_pipeline.train.randomness import isolated
from nas_pipeline.train.recipe import Recipe

logger = logging.getLogger(__name__)

MAX_FAILURES = 2
"""Largest number of epochs that are rolled back because a loss is not finite."""

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True, slots=True)
class DifferentiableSearch:
    """A differentiable search, carried out by `run`."""

    settings: Settings
    variant: Variant

    def run(
        self, data: SearchData, seed: int, folder: Path, *,
        device: torch.device, recipe: Recipe | None = None, deploy: DeploymentCosts | None = None,
    ) -> Derived:
        """Runs the search, resumes it where the same call was interrupted, or returns its stored result.

        Args:
            data: Only its training images are used, in two halves.
            seed: Names every random stream.
            folder: Working state; searches with other settings can use the same folder.
            device: Where to train.
            recipe: Augmentation of the images; only `flip` and `shift` are used.
            deploy: Measures latencies; needed only if `latency_ms` is bounded or penalised.

        Raises:
            SearchRefusal: No cell satisfies the bounds; raised before the first epoch.
            TrainError: The loss was not finite in three epochs, or memory was not sufficient.
        """
        recipe = recipe or Recipe()
        key = sha256_text(canonical_json([
            self._settings_json(), self.variant.to_json(), seed, data.manifest.digest, recipe.flip, recipe.shift,
        ]))
        state_folder = folder / key[:12]
        if (state_folder / "derived.json").exists():
            return _read(state_folder / "derived.json")
        with _explain_out_of_memory(self.settings), isolated(f"{seed}/search"):
            derived = _Run(self, data, seed, state_folder, device, recipe, deploy).complete()
        write_json(state_folder / "derived.json", {**asdict(derived), "genotype": derived.genotype.to_json()})
        SearchStateFiles(state_folder, 1).clear()
        return derived

    def _settings_json(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self.settings).items() if name != "seeds"}


class _Run:
    """The state of a running search."""

    def __init__(
        self, search: DifferentiableSearch, data: SearchData, seed: int, folder: Path, device: torch.device,
        recipe: Recipe, deploy: DeploymentCosts | None,
    ) -> None:
        settings, spec = search.settings, data.manifest.spec
        self.settings, self.seed = settings, seed
        folder.mkdir(parents=True, exist_ok=True)
        models = cost_models(settings, spec, deploy, folder / "costs.json")
        self.bounds = hard_bounds(models, settings)
        net = SearchNetwork(spec, width=settings.width, cells=settings.cells, nodes=settings.nodes, ops=settings.ops,
                            partial=search.variant.partial)
        on_device(net, device)
        self.bilevel = Bilevel(net, settings.rates, order=settings.order, form=settings.form)
        split = BilevelSplit(data, recipe, seed, device, images=settings.images, batch_size=settings.batch_size)
        self.epoch = Epoch(self.bilevel, split, settings, search.variant, models, seed)
        by_perturbation = settings.derivation == "perturbation"
        # Perturbation needs the weights of the epoch that a guard rolls back to.
        retained = 2 * settings.eigenvalue_window * max(1, settings.eigenvalue_every) + 1 if by_perturbation else 1
        self.files = SearchStateFiles(folder, retained)
        self.state = self.files.last() or SearchState(0, self.bilevel.state())
        if self.state.epochs_done == 0:
            self.files.save(self.state)  # restored if the first epoch fails
        self.bilevel.restore(self.state.bilevel)
        self.clock = DeviceClock(device, self.state.device_s)
        self._check_bounds()

    def complete(self) -> Derived:
        """Runs the remaining epochs and derives the genotype."""
        state = self.state
        verdict = apply_guards(state.rows, self.settings, self.settings.epochs) if state.rows else None
        while state.epochs_done < self.settings.epochs and not (verdict and verdict.stop):
            row = self.epoch.run(state.epochs_done, state.failures, state.rows)
            if row is None:
                self._roll_back()
                continue
            state.rows.append({**row, "device_s": self.clock.seconds()})
            state.epochs_done += 1
            verdict = apply_guards(state.rows, self.settings, self.settings.epochs)
            state.decisions += verdict.decisions
            self._save()
            logger.info("epoch %d of %d: loss %.3f, %d skips in the normal cell", state.epochs_done,
                        self.settings.epochs, row["loss"], row["skips_normal"])
        assert verdict is not None  # there is at least one epoch
        genotype = self._discretise(verdict)
        state.decisions.append({
            "epoch": verdict.epoch, "guard": "derivation", "action": f"derived {genotype.id}",
            "why": "stopped by a guard" if verdict.stop else "all epochs are done",
        })
        return Derived(genotype, self.clock.seconds(), tuple(state.rows), tuple(state.decisions))

    def _discretise(self, verdict: GuardVerdict) -> Genotype:
        """Derives the genotype from the epoch that the guards chose."""
        if self.settings.derivation == "perturbation":
            earlier = self.files.after(verdict.epoch)
            if earlier is not None:
                self.bilevel.restore(earlier.bilevel)
            picks = picks_by_perturbation(self.bilevel, self.epoch.split, self.settings, self.seed)
        else:
            picks = self._strongest(self.state.rows[verdict.epoch])
        return genotype_from(picks, self.settings)

    def _strongest(self, row: dict[str, object]) -> dict[str, tuple[tuple[int, str], ...]]:
        return strongest(strengths_of_row(row), self.settings.ops, self.settings.nodes,  # type: ignore[arg-type]  # of JSON
                         bounds=self.bounds, skip_cap=self.settings.skip_cap)

    def _check_bounds(self) -> None:
        """Raises `SearchRefusal` if no cell satisfies the bounds, before any training."""
        net = self.bilevel.net
        self._strongest({"alphas": {k: a.tolist() for k, a in net.alphas.items()}, "betas": {}})

    def _roll_back(self) -> None:
        """Restores the last state; the epoch is then run again with other batches."""
        epoch = self.state.epochs_done
        why = f"a loss in epoch {epoch} is not a finite number"
        if self.state.failures >= MAX_FAILURES:
            raise TrainError(
                f"{why}, and {MAX_FAILURES} epochs have been rolled back already; lower learning_rate (now "
                f"{self.settings.learning_rate}) or alpha_learning_rate (now {self.settings.alpha_learning_rate})"
            )
        self.state.failures += 1
        self.state.decisions.append({
            "epoch": epoch, "guard": "loss", "action": "rolled back; the epoch is run again", "why": why,
        })
        logger.warning("%s; the epoch is rolled back and run again with other batches", why)
        saved = self.files.last()
        assert saved is not None  # written at the start
        self.bilevel.restore(saved.bilevel)
        self._save()

    def _save(self) -> None:
        self.state.bilevel = self.bilevel.state()
        self.state.device_s = self.clock.seconds()
        self.files.save(self.state)


def _read(path: Path) -> Derived:
    value = read_json(path)
    return Derived(Genotype.from_json(value["genotype"]), value["device_s"], tuple(value["rows"]),
                   tuple(value["decisions"]))


@contextlib.contextmanager
def _explain_out_of_memory(settings: Settings) -> Iterator[None]:
    """Converts an out-of-memory error inside the block to a `TrainError` with the options to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(text in str(error) for text in _OUT_OF_MEMORY):
            raise
        raise TrainError(
            f"the search network does not fit into memory ({(str(error) or 'MemoryError').splitlines()[0]}); "
            f"lower batch_size (now {settings.batch_size}), then width (now {settings.width}) or cells (now "
            f"{settings.cells}); pc_darts and gdas need a fraction of the memory"
        ) from error
