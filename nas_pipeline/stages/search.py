"""Stage `search`: scores candidates by short trainings, the best ones again by longer ones, and chooses a winner."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from nas_pipeline.config.schema.search import ParetoObjectiveSection, SearchSection
from nas_pipeline.config.schema.targets import TargetSection
from nas_pipeline.config.schema.train import TrainSection
from nas_pipeline.core.files import write_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.measures import Budget, Constraint, Objective
from nas_pipeline.core.records import Precision
from nas_pipeline.latency.deploy import OnnxDeploy
from nas_pipeline.search import EVALUATORS, STRATEGIES
from nas_pipeline.search.driver import Search, derivations, run_search, score_all
from nas_pipeline.search.early_stopping import EARLY_STOPPING
from nas_pipeline.search.ledger import TrialRow
from nas_pipeline.search.objectives import ObjectiveFunction, ParetoObjective, WeightedObjective
from nas_pipeline.search.protocols import Evaluator, GradientSearch, Strategy
from nas_pipeline.search.selection import choose_winner, feasible, pareto_front
from nas_pipeline.search.strategies.random import Random
from nas_pipeline.space import SPACES
from nas_pipeline.stages.context import Context

logger = logging.getLogger(__name__)

FRONT = (
    Objective("val_accuracy", "maximize"), Objective("latency_ms", "minimize"), Objective("size_bytes", "minimize"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Stage:
    """One run of the stage with its parameters."""

    context: Context
    search: SearchSection
    train: TrainSection
    targets: Mapping[str, TargetSection]


def run_search_stage(
    context: Context, *, search: SearchSection, train: TrainSection, targets: Mapping[str, TargetSection]
) -> None:
    """Searches; writes the trials, the winner, the metrics, the derivations and the random baseline.

    The last two are empty lists where there are none.

    Raises:
        SearchRefusal: No candidate meets the bounds.
    """
    stage = _Stage(context, search, train, targets)
    study = study_of(context, search=search, train=train, targets=targets)
    rows = run_search(study, progress=context.progress)
    baseline = _random_baseline(stage, study, rows)
    best = feasible([*rows, *baseline])  # a network is not worse because a random draw proposed it
    if search.finalists.count and best:
        chosen = [Genotype.from_json(row["genotype"]) for row in best[: search.finalists.count]]
        logger.info("%d finalists get a longer training", len(chosen))
        evaluator = _evaluator(stage, search.finalists.options)
        rung = dataclasses.replace(study, rung=1, evaluator=evaluator, pruner=None)
        rows = rows + score_all(rung, chosen, context.progress)
    winner, why = choose_winner([*rows, *baseline])
    searched = {row["genotype_id"] for row in rows if not row["rung"]}
    origin = "search" if winner["genotype_id"] in searched else "random_baseline"
    if origin == "random_baseline":
        why += f"; proposed by the random search beside {study.strategy_name}, not by it"
    logger.info("winner %s: %s", winner["genotype_id"], why)
    write_json(context.folder / "trials.json", rows)
    write_json(context.folder / "winner.json", {
        "genotype": winner["genotype"], "genotype_id": winner["genotype_id"], "number": winner["number"],
        "rung": winner["rung"], "metrics": winner["metrics"], "why": why, "found_by": origin,
    })
    write_json(context.folder / "metrics.json", _metrics(rows, winner))
    write_json(context.folder / "derivations.json", derivations(study))
    write_json(context.folder / "random_baseline.json", baseline)


def _random_baseline(stage: _Stage, study: Search, rows: list[TrialRow]) -> list[TrialRow]:
    """Runs random search in the same space, with the same evaluator and as many device seconds as the search took."""
    wanted = stage.search.random_baseline
    if wanted == "never" or (wanted == "auto" and not isinstance(study.strategy, GradientSearch)):
        return []
    spent = sum(row["device_s"] for row in rows)
    logger.info("random search gets the same %.0f device-seconds", spent)
    return run_search(
        dataclasses.replace(study, strategy=Random(), strategy_name="random", budget=Budget(device_s=spent),
                            pruner=None),
        progress=stage.context.progress,
    )


def constraints(search: SearchSection, targets: Mapping[str, TargetSection]) -> tuple[Constraint, ...]:
    """Returns the bounds that a candidate must meet to run on every target; latency in milliseconds of this host."""
    latency = min(target.latency_ms / target.host_factor for target in targets.values()) * search.latency_headroom
    size = min(target.size_bytes for target in targets.values())
    return (Constraint("latency_ms", at_most=latency), Constraint("size_bytes", at_most=float(size)))


def study_of(
    context: Context, *, search: SearchSection, train: TrainSection, targets: Mapping[str, TargetSection]
) -> Search:
    """Returns the search that the stage runs."""
    stage, params, bounds = _Stage(context, search, train, targets), search, constraints(search, targets)
    stopping = "none" if isinstance(params.objective, ParetoObjectiveSection) else params.objective.early_stopping
    strategy, budget = _strategy(stage), Budget(**params.budget.model_dump())
    if isinstance(strategy, GradientSearch):
        budget = dataclasses.replace(budget, trials=min(strategy.seeds, budget.trials or strategy.seeds))
    return Search(
        space=SPACES.make(params.space.name, params.space.options),
        strategy=strategy,
        strategy_name=params.strategy.name,
        evaluator=_evaluator(stage, {}),
        objective=_objective(stage, bounds),
        constraints=bounds,
        budget=budget,
        seed=params.seed,
        workers=params.workers,
        folder=stage.context.work / "search",
        storage=params.storage,
        pruner=EARLY_STOPPING.make(stopping),
        code=stage.context.code_version(),
    )


def _strategy(stage: _Stage) -> Strategy:
    chosen = stage.search.strategy
    return STRATEGIES.make(
        chosen.name, chosen.options, data=stage.context.artefacts("ingest"), device=stage.train.device,
        recipe=stage.train.as_recipe(), deploy=_deploy(stage),
    )


def _evaluator(stage: _Stage, changed: dict[str, Any]) -> Evaluator:
    chosen = stage.search.evaluator
    return EVALUATORS.make(
        chosen.name, {**chosen.options, **changed}, data=stage.context.artefacts("ingest"),
        recipe=stage.train.as_recipe(), device=stage.train.device, deploy=_deploy(stage),
        precision_cache=stage.context.work / "precision.json",
    )


def _deploy(stage: _Stage) -> OnnxDeploy:
    target = next(iter(stage.targets.values()))
    return OnnxDeploy(_precisions(stage.targets), target.opset, target.threads, stage.search.latency_runs)


def _precisions(targets: Mapping[str, TargetSection]) -> tuple[Precision, ...]:
    """Returns the precisions that may ship: both, unless a target insists on one."""
    forced = {target.precision for target in targets.values()} - {"auto"}
    return tuple(precision for precision in ("fp32", "int8") if not forced or precision in forced)


def _objective(stage: _Stage, bounds: tuple[Constraint, ...]) -> ObjectiveFunction:
    objective = stage.search.objective
    if isinstance(objective, ParetoObjectiveSection):
        return ParetoObjective(tuple(Objective(metric, goal) for metric, goal in objective.objectives.items()))
    at_most = {bound.metric: bound.at_most or 0.0 for bound in bounds}
    bytes_per_param = 1 if "int8" in _precisions(stage.targets) else 4
    return WeightedObjective(objective.accuracy, objective.latency, objective.params, at_most["latency_ms"],
                        at_most["size_bytes"] / bytes_per_param)


def _metrics(rows: list[TrialRow], winner: TrialRow) -> dict[str, float]:
    states = [row["state"] for row in rows]
    return {
        "trials": len(rows), "complete": states.count("complete"), "stopped_early": states.count("pruned"),
        "failed": states.count("fail"), "feasible": sum(row["feasible"] for row in rows),
        "on_front": len(pareto_front([row for row in rows if row["rung"] == 0], FRONT)),
        "device_s": sum(row["device_s"] for row in rows),
        **{f"winner_{name}": value for name, value in winner["metrics"].items()},
    }
