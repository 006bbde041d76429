"""Training: the same code for the short runs of the search and for the full runs of `retrain`.

`Recipe` (recipe.py) holds the settings, `TrainBudget` (budget.py) the length. `fit` (trainer.py) trains one network;
`retrain` (retrain.py) trains several networks with several seeds and reads the test split.
"""
