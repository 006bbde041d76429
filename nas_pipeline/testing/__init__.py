"""Contract suites for plug-ins, one module per socket, for this repository and for other packages. They need pytest.

A test module of a plug-in subclasses the suite and overrides its fixture::

    from nas_pipeline.testing.strategies import StrategyContract


    class TestMyStrategy(StrategyContract):
        @pytest.fixture
        def strategy(self) -> MyStrategy:
            return MyStrategy()

Product code does not import this package.
"""

import pytest

# pytest shows the values in failed assertions only for modules registered before their first import.
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in (
    "evaluators", "gradient_searches", "keys", "operations", "probes", "sources", "spaces", "strategies",
)))
