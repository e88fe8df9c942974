"""``asr tune``: find beam search's weights on recordings whose texts are known."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from asr.cli.known_texts import add_known_texts, check_outputs, none_usable, output_bundle
from asr.cli.recognition import add_language, add_model, load_recognizer, penalty
from asr.cli.terminal import FAILURE, complain, progress
from asr.types import AsrError, ConfigError

if TYPE_CHECKING:
    from asr.cli.segments import Segment
    from asr.decoding import BeamOptions, DecoderOptions
    from asr.decoding.tuning import Development, Grid, Trial
    from asr.recognizer import Recognizer

__all__ = ["add_tune"]

Found = TypeVar("Found")


def add_tune(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options and its function as the default ``run``."""
    parser.description = (
        "Find the weights of the language model and of the tokens' priors, the score added for "
        "words and the width of the beam that make the fewest errors on recordings whose texts are "
        "known, and write them into the bundle, with the language model. Where the bundle has no "
        "priors, they are taken from these recordings. Use recordings that the model was not "
        "trained on, and others to measure the result."
    )
    parser.set_defaults(run=_tune)
    add_known_texts(parser, "the error rate over the weights")
    add = parser.add_argument_group("what is tried").add_argument
    add("--lm-weights", type=float, nargs="+", metavar="W")
    add("--scores", type=float, nargs="+", metavar="X", help="added for each word (or phone)")
    add("--bonuses", dest="scores", type=float, nargs="+", help=argparse.SUPPRESS)
    add("--prior-weights", type=float, nargs="+", metavar="W", help="0 alone: without priors")
    add("--beam-widths", type=int, nargs="+", metavar="K")
    add("--unk-score", type=float, metavar="X", help="as in transcribe; not tried, but used")
    add(
        "--unknown-penalty",
        dest="unk_score",
        type=penalty,
        help=argparse.SUPPRESS,
    )
    add_language(parser)
    add_model(parser)


def _tune(options: argparse.Namespace) -> int:
    from asr.bundle import save_bundle
    from asr.cli.segments import read_pairs
    from asr.decoding.tuning import best_trial, check_grid
    from asr.plots import draw_surface, save_picture

    segments = read_pairs(options.pairs)
    if not any((segment.text or "").split() for segment in segments):
        raise ConfigError(
            "there are no words in the texts", where=options.pairs, remedy="give what is said"
        )
    check_outputs(options, segments)
    recognizer = load_recognizer(options)
    base = _base(recognizer.bundle.decoder, options.unk_score)
    grid = _grid(options, base)
    check_grid(base, grid)
    development = _development(recognizer, segments, options.batch_seconds)
    trials = _try_all(development, base, grid)
    _print(trials, grid)
    best = best_trial(trials, grid).decoder
    _check_case(development, best)
    if options.picture is not None:
        first = grid.prior_weights.index(best.prior_weight) * grid.pairs
        rates = [trial.errors.rate for trial in trials[first : first + grid.pairs]]
        save_picture(draw_surface(grid.lm_weights, grid.scores, rates), options.picture)
    if not options.dry_run:
        best = replace(best, nbest=min(base.nbest, best.beam_width))
        bundle = replace(recognizer.bundle, decoder=best, priors=development.priors)
        save_bundle(bundle, output_bundle(options), changed_from=options.bundle)
    return FAILURE if len(development.references) < len(segments) else 0


def _try_all(development: Development, base: BeamOptions, grid: Grid) -> list[Trial]:
    """All trials, with progress; an interruption prints the best so far."""
    from asr.decoding.tuning import run_trials

    trials: list[Trial] = []
    try:
        with progress(grid.size, "tuning") as (advance, _):
            for trial in run_trials(development, base, grid):
                trials.append(trial)
                advance(1)
    except KeyboardInterrupt:
        if trials:
            print("interrupted; nothing is written. The best so far:")
            _print(trials, grid)
        raise
    return trials


def _grid(options: argparse.Namespace, base: BeamOptions) -> Grid:
    """What is asked for; where no widths are, that of ``base`` as well."""
    from asr.decoding.tuning import Grid

    names = ("lm_weights", "scores", "beam_widths", "prior_weights")
    given = {name: tuple(getattr(options, name)) for name in names if getattr(options, name)}
    usual = {"beam_widths": tuple(sorted({*Grid().beam_widths, base.beam_width}))}
    return Grid(**(usual | given))


def _base(default: DecoderOptions, unk_score: float | None) -> BeamOptions:
    from asr.decoding import BeamOptions

    base = default if isinstance(default, BeamOptions) else BeamOptions()
    return base if unk_score is None else replace(base, unk_score=unk_score)


def _check_case(development: Development, best: BeamOptions) -> None:
    """Refuse weights that were found on errors of another kind.

    Raises:
        ConfigError: a good part of the errors are letters of another case.
    """
    from asr.decoding.tuning import recognised
    from asr.scoring import word_errors
    from asr.scoring.case import other_case

    pairs = [*zip(development.references, recognised(development, best), strict=True)]
    if found := other_case(pairs, word_errors, "error rate"):
        raise ConfigError(
            f"nothing is written: {found.message}", remedy="give texts in the model's case"
        )


def _development(
    recognizer: Recognizer, segments: Sequence[Segment], batch_seconds: float
) -> Development:
    """Log-probabilities of all recordings that can be used; the others are named.

    Raises:
        ConfigError: there is no language model, or no recording can be used.
    """
    from asr.audio import probe, read_audio
    from asr.decoding import Priors
    from asr.decoding.tuning import Development
    from asr.transcribe import plan_batches

    language = recognizer.bundle.language
    if language is None or language.lm is None:
        raise ConfigError(
            "there is no language model to weight", remedy="give --lm; `asr lm train` makes one"
        )
    batches, references = [], []
    with progress(len(segments), "computing") as (advance, hidden):

        def left_out(error: AsrError) -> None:
            advance(1)
            with hidden():
                complain(str(error))

        known = _usable(segments, lambda each: probe(each.audio).duration, left_out)
        for indices in plan_batches([duration for _, duration in known], batch_seconds):
            read = _usable(
                [known[i][0] for i in indices],
                lambda each: recognizer.prepare(read_audio(each.audio)),
                left_out,
            )
            if read:
                batches.append(recognizer.log_probs([waveform for _, waveform in read]))
                references += [each.text or "" for each, _ in read]
                advance(len(read))
    if not references:
        raise none_usable(segments)
    return Development(
        priors=recognizer.bundle.priors or Priors.of_speech(batches),
        batches=tuple(batches),
        references=tuple(references),
        tokenizer=recognizer.tokenizer,
        seconds_per_frame=recognizer.seconds_per_frame,
        language=language,
    )


def _usable(
    segments: Sequence[Segment],
    find: Callable[[Segment], Found],
    left_out: Callable[[AsrError], None],
) -> list[tuple[Segment, Found]]:
    """Those in which ``find`` finds something, with it; of the others, ``left_out`` is told why."""
    found = []
    for segment in segments:
        try:
            found.append((segment, find(segment)))
        except AsrError as error:
            left_out(error.at(segment.audio))
    return found


def _print(trials: Sequence[Trial], grid: Grid) -> None:
    from asr.decoding.tuning import best_trial

    best = best_trial(trials, grid)
    config = best.decoder
    print(
        f"error rate    {best.errors.rate:.2%} ({best.errors.total} of "
        f"{best.errors.reference_length})\n"
        f"lm_weight     {config.lm_weight:g}\n"
        f"prior_weight  {config.prior_weight:g}\n"
        f"word_score    {config.word_score:g}\n"
        f"token_score   {config.token_score:g}\n"
        f"beam_width    {config.beam_width}"
    )
