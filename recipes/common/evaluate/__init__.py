"""The command ``evaluate``: error rates of a model on named splits, and all that explains them."""

from recipes.common.evaluate.conditions import ALL, CONDITIONS, chosen_conditions
from recipes.common.evaluate.evaluation import EvaluateOptions, Result, evaluate
from recipes.common.evaluate.scored import Scored, Scoring
from recipes.common.evaluate.splits import names_in

__all__ = [
    "ALL",
    "CONDITIONS",
    "EvaluateOptions",
    "Result",
    "Scored",
    "Scoring",
    "chosen_conditions",
    "evaluate",
    "names_in",
]
