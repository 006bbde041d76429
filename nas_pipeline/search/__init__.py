"""Catalogues of the search room: strategies propose, evaluators score."""

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.search.evaluators.train import TrainEvaluator
from nas_pipeline.search.protocols import Evaluator, Strategy
from nas_pipeline.search.strategies.darts import Darts
from nas_pipeline.search.strategies.gdas import Gdas
from nas_pipeline.search.strategies.nsga2 import Nsga2
from nas_pipeline.search.strategies.pc_darts import PcDarts
from nas_pipeline.search.strategies.random import Random
from nas_pipeline.search.strategies.tpe import Tpe

STRATEGIES: Catalog[Strategy] = Catalog("strategy", {
    "random": Random,
    "tpe": Tpe,
    "nsga2": Nsga2,
    "darts": Darts,
    "pc_darts": PcDarts,
    "gdas": Gdas,
})

EVALUATORS: Catalog[Evaluator] = Catalog("evaluator", {"train": TrainEvaluator})
