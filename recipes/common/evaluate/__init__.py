"""The command ``evaluate``: error rates of a model on named splits, and all that explains them."""

from recipes.common.evaluate.evaluation import EvaluateOptions, Result, evaluate, score_cuts
from recipes.common.evaluate.scored import Scored, Scoring
from recipes.common.evaluate.splits import names_in

__all__ = [
    "EvaluateOptions",
    "Result",
    "Scored",
    "Scoring",
    "evaluate",
    "names_in",
    "score_cuts",
]
