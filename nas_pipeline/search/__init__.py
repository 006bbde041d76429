"""Catalogues of the search package: strategies propose candidates, evaluators score them."""

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.search.evaluators.train import TrainEvaluator
from nas_pipeline.search.protocols import Evaluator, Strategy
from nas_pipeline.search.strategies.darts import Darts
from nas_pipeline.search.strategies.evolution import Evolution
from nas_pipeline.search.strategies.gdas import Gdas
from nas_pipeline.search.strategies.nsga2 import Nsga2
from nas_pipeline.search.strategies.pc_darts import PcDarts
from nas_pipeline.search.strategies.random import Random
from nas_pipeline.search.strategies.tpe import Tpe

STRATEGIES: Catalog[Strategy] = Catalog("strategy", {
    "random": Random,
    "tpe": Tpe,
    "nsga2": Nsga2,
    "evolution": Evolution,
    "darts": Darts,
    "pc_darts": PcDarts,
    "gdas": Gdas,
}, entry_points="nas_pipeline.strategies")
"""Name in params.yaml -> strategy, of any of the three kinds in `search/protocols.py`."""

EVALUATORS: Catalog[Evaluator] = Catalog(
    "evaluator", {"train": TrainEvaluator}, entry_points="nas_pipeline.evaluators"
)
"""Name in params.yaml -> evaluator."""
