"""Beam search's weights, found on log-probabilities that are computed once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from asr.decoding import BeamOptions, Priors, make_decoder
from asr.decoding.beam.language import Language
from asr.decoding.choice import with_scores_of
from asr.scoring import ErrorCounts, word_errors
from asr.tokens import Tokenizer
from asr.types import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Development",
    "Grid",
    "Trial",
    "best_trial",
    "check_grid",
    "count_errors",
    "recognised",
    "run_trials",
]


@dataclass(frozen=True)
class Grid:
    """What is tried.

    Attributes:
        lm_weights, scores, prior_weights: one of each, in all combinations; scores for each word,
            or for each token where there are no words.
        beam_widths: tried with the best of these; the narrowest is taken that is as good as any of
            these widths.
    """

    lm_weights: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
    scores: tuple[float, ...] = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
    beam_widths: tuple[int, ...] = (8, 16, 32, 64, 128)
    prior_weights: tuple[float, ...] = (0.0, 0.3, 0.5, 0.7)

    def __post_init__(self) -> None:
        for name in ("lm_weights", "scores", "beam_widths", "prior_weights"):
            values = getattr(self, name)
            if not values or not all(math.isfinite(value) for value in values):
                raise ConfigError(f"{name} are {values!r}", remedy="give one number or more")

    @property
    def size(self) -> int:
        """How many trials there are."""
        return len(self.prior_weights) * self.pairs + len(self.beam_widths)

    @property
    def pairs(self) -> int:
        """How many there are with each weight of the priors."""
        return len(self.lm_weights) * len(self.scores)


@dataclass(frozen=True)
class Development:
    """What the weights are found on.

    Attributes:
        batches: log-probabilities ``(B, T, V)`` and lengths ``(B,)``.
        references: the texts, in the order of the batches.
        priors: of the tokens.
    """

    batches: tuple[tuple[Tensor, Tensor], ...]
    references: tuple[str, ...]
    tokenizer: Tokenizer
    seconds_per_frame: float
    language: Language
    priors: Priors


@dataclass(frozen=True)
class Trial:
    """A decoder and its errors: words, or what stands between spaces."""

    decoder: BeamOptions
    errors: ErrorCounts


def check_grid(base: BeamOptions, grid: Grid) -> None:
    """Refuse a grid before there is anything to try it on.

    Raises:
        DecodingError: one of its values is impossible.
    """
    for lm_weight in grid.lm_weights:
        replace(base, lm_weight=lm_weight)
    for value in grid.scores:
        replace(base, word_score=value, token_score=value)
    for prior_weight in grid.prior_weights:
        replace(base, prior_weight=prior_weight)
    for width in grid.beam_widths:
        replace(base, beam_width=width, nbest=1)


def run_trials(development: Development, base: BeamOptions, grid: Grid) -> Iterator[Trial]:
    """Yield trials as they end: all pairs of weight and score with each weight of the priors, one
    after another, then the beam widths.

    ``base`` has what is not tried; its beam is as wide as it says while the weights are. A score
    that the search has not is left out.
    """
    base = with_scores_of(replace(base, nbest=1), development.tokenizer, development.language)
    has_words = development.tokenizer.word_separator is not None or development.language.says_words
    score = "word_score" if has_words else "token_score"
    trials = []
    weights = product(grid.prior_weights, grid.lm_weights, grid.scores)
    for prior_weight, lm_weight, value in weights:
        added: dict[str, Any] = {score: value}
        config = replace(base, prior_weight=prior_weight, lm_weight=lm_weight, **added)
        trials.append(Trial(config, count_errors(development, config)))
        yield trials[-1]
    best = _fewest_errors(trials).decoder
    for width in grid.beam_widths:
        config = replace(best, beam_width=width)
        yield Trial(config, count_errors(development, config))


def best_trial(trials: Sequence[Trial], grid: Grid) -> Trial:
    """Of ``trials``, as far as they have come, the best one of a width that was asked for, if any.

    That is the one with the fewest errors; of equals the narrowest beam, then the smallest weights.
    """
    return _fewest_errors(trials[grid.size - len(grid.beam_widths) :] or trials)


def _fewest_errors(trials: Sequence[Trial]) -> Trial:
    def cost(trial: Trial) -> tuple[float, ...]:
        config = trial.decoder
        bonus = abs(config.word_score) + abs(config.token_score)
        return (
            trial.errors.total,
            config.beam_width,
            config.prior_weight,
            config.lm_weight,
            bonus,
        )

    return min(trials, key=cost)


def count_errors(development: Development, config: BeamOptions) -> ErrorCounts:
    """The errors of a decoder on all utterances."""
    pairs = zip(development.references, recognised(development, config), strict=True)
    counts = (word_errors(reference, hypothesis) for reference, hypothesis in pairs)
    return sum(counts, ErrorCounts())


def recognised(development: Development, config: BeamOptions) -> list[str]:
    """The texts that a decoder finds."""
    decoder = make_decoder(
        config,
        development.tokenizer,
        development.seconds_per_frame,
        development.language,
        priors=development.priors,
    )
    return [
        best.text
        for log_probs, lengths in development.batches
        for best, *_ in decoder.decode(log_probs, lengths)
    ]
