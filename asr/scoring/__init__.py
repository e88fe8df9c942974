"""How far hypotheses are from their references, and how sure that is."""

from asr.scoring.calibration import (
    ReliabilityBin,
    calibration_error,
    reliability,
    reliability_by_count,
    right_tokens,
)
from asr.scoring.edits import (
    NIST_COSTS,
    EditCosts,
    ErrorCounts,
    Path,
    align,
    confusions,
    count_errors,
    token_errors,
    word_errors,
)
from asr.scoring.intervals import bootstrap_interval
from asr.scoring.significance import (
    BootstrapDifference,
    MatchedPairs,
    bootstrap_difference,
    matched_pairs,
)

__all__ = [
    "NIST_COSTS",
    "BootstrapDifference",
    "EditCosts",
    "ErrorCounts",
    "MatchedPairs",
    "Path",
    "ReliabilityBin",
    "align",
    "bootstrap_difference",
    "bootstrap_interval",
    "calibration_error",
    "confusions",
    "count_errors",
    "matched_pairs",
    "reliability",
    "reliability_by_count",
    "right_tokens",
    "token_errors",
    "word_errors",
]
