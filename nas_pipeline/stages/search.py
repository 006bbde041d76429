"""Search: candidates scored by short trainings, the best ones again by longer ones, a winner chosen."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from nas_pipeline.config.params import Params, ParetoAim
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
from nas_pipeline.stages.plug_in_names import check_names

logger = logging.getLogger(__name__)

FRONT = (
    Objective("val_accuracy", "maximize"), Objective("latency_ms", "minimize"), Objective("size_bytes", "minimize"),
)


def run_search_stage(context: Context) -> None:
    """Data -> trials, winner, metrics; derivations and random_baseline are empty lists where there are none."""
    check_names(context.params)
    search = _search(context)
    rows = run_search(search, progress=context.progress)
    random_baseline = _random_baseline(context, search, rows)
    best = feasible([*rows, *random_baseline])  # a network is not worse for having been found by chance
    finalists = context.params.search.finalists
    if finalists.count and best:
        chosen = [Genotype.from_json(row["genotype"]) for row in best[: finalists.count]]
        logger.info("%d finalists get a longer training", len(chosen))
        rung = dataclasses.replace(search, rung=1, evaluator=_evaluator(context, finalists.options), pruner=None)
        rows = rows + score_all(rung, chosen, context.progress)
    winner, why = choose_winner([*rows, *random_baseline])
    found = {row["genotype_id"] for row in rows if not row["rung"]}
    found_by = "search" if winner["genotype_id"] in found else "random_baseline"
    if found_by == "random_baseline":
        why += f"; found by the random search beside {search.strategy_name}, not by it"
    logger.info("winner %s: %s", winner["genotype_id"], why)
    write_json(context.folder / "trials.json", rows)
    write_json(context.folder / "winner.json", {
        "genotype": winner["genotype"], "genotype_id": winner["genotype_id"], "number": winner["number"],
        "rung": winner["rung"], "metrics": winner["metrics"], "why": why, "found_by": found_by,
    })
    write_json(context.folder / "metrics.json", _metrics(rows, winner))
    write_json(context.folder / "derivations.json", derivations(search))
    write_json(context.folder / "random_baseline.json", random_baseline)


def _random_baseline(context: Context, search: Search, rows: list[TrialRow]) -> list[TrialRow]:
    """Random search in the same space, with the same evaluator and as many device seconds as the search took."""
    wanted = context.params.search.random_baseline
    if wanted == "never" or (wanted == "auto" and not isinstance(search.strategy, GradientSearch)):
        return []
    spent = sum(row["device_s"] for row in rows)
    logger.info("random search gets the same %.0f device-seconds", spent)
    budget = Budget(device_s=spent)
    return run_search(
        dataclasses.replace(search, strategy=Random(), strategy_name="random", budget=budget, pruner=None),
        progress=context.progress,
    )


def constraints(params: Params) -> tuple[Constraint, ...]:
    """Bounds that a candidate must keep to run on every target, in milliseconds of this host."""
    headroom = params.search.latency_headroom
    latency = min(target.latency_ms / target.host_factor for target in params.targets.values()) * headroom
    size = min(target.size_bytes for target in params.targets.values())
    return (Constraint("latency_ms", at_most=latency), Constraint("size_bytes", at_most=float(size)))


def _search(context: Context) -> Search:
    params = context.params.search
    bounds = constraints(context.params)
    stopping = params.aim.early_stopping if not isinstance(params.aim, ParetoAim) else "none"
    strategy, budget = _strategy(context), Budget(**params.budget.model_dump())
    if isinstance(strategy, GradientSearch):
        budget = dataclasses.replace(budget, trials=min(strategy.seeds, budget.trials or strategy.seeds))
    return Search(
        space=SPACES.make(params.space.name, params.space.options),
        strategy=strategy,
        strategy_name=params.strategy.name,
        evaluator=_evaluator(context, {}),
        objective=_aim(context.params, bounds),
        constraints=bounds,
        budget=budget,
        seed=params.seed,
        workers=params.workers,
        folder=context.work / "search",
        storage=params.storage,
        pruner=EARLY_STOPPING.make(stopping),
    )


def _strategy(context: Context) -> Strategy:
    chosen = context.params.search.strategy
    return STRATEGIES.make(
        chosen.name, chosen.options, data=context.artefacts("ingest"), device=context.params.train.device,
        recipe=context.recipe, deploy=_deploy(context),
    )


def _evaluator(context: Context, changed: dict[str, Any]) -> Evaluator:
    params = context.params
    return EVALUATORS.make(
        params.search.evaluator.name, {**params.search.evaluator.options, **changed},
        data=context.artefacts("ingest"), recipe=context.recipe, device=params.train.device,
        deploy=_deploy(context),
        precision_cache=context.work / "precision.json",
    )


def _deploy(context: Context) -> OnnxDeploy:
    params = context.params
    target = next(iter(params.targets.values()))
    return OnnxDeploy(_precisions(params), target.opset, target.threads, params.search.latency_runs)


def _precisions(params: Params) -> tuple[Precision, ...]:
    """What may ship: both, unless a target insists on one."""
    forced = {target.precision for target in params.targets.values()} - {"auto"}
    return tuple(precision for precision in ("fp32", "int8") if not forced or precision in forced)


def _aim(params: Params, bounds: tuple[Constraint, ...]) -> ObjectiveFunction:
    aim = params.search.aim
    if isinstance(aim, ParetoAim):
        return ParetoObjective(tuple(Objective(metric, goal) for metric, goal in aim.objectives.items()))
    at_most = {bound.metric: bound.at_most or 0.0 for bound in bounds}
    bytes_per_param = 1 if "int8" in _precisions(params) else 4
    return WeightedObjective(aim.accuracy, aim.latency, aim.params, at_most["latency_ms"],
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
