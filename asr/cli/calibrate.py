"""``asr calibrate``: make confidences mean something, on recordings whose texts are known."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from asr.cli.known_texts import add_known_texts, check_outputs, none_usable, output_bundle
from asr.cli.recognition import add_recognition, chosen_phrases, fitting_options, load_recognizer
from asr.cli.terminal import FAILURE, complain, progress
from asr.types import AsrError, Hypothesis

if TYPE_CHECKING:
    from asr.cli.segments import Segment
    from asr.decoding import Decoder
    from asr.recognizer import Recognizer

__all__ = ["add_calibrate"]


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options and its function as the default ``run``."""
    parser.description = (
        "Find how sure the model should be of what it says, on recordings whose texts are known "
        "and that it was not trained on, and write that into the bundle. Of words with confidence "
        "0.9 about nine in ten are right then. It holds for one decoder and its options; run it "
        "again for another."
    )
    parser.set_defaults(run=_calibrate)
    add_known_texts(parser, "how many are right at a confidence")
    add_recognition(parser)


@dataclass(frozen=True)
class _Heard:
    """The words of one recording: how sure the decoder is of each, and whether it was said."""

    confidences: tuple[float, ...]
    right: tuple[bool, ...]


def _calibrate(options: argparse.Namespace) -> int:
    from asr.bundle import load_bundle, save_bundle
    from asr.calibration import fit_calibration
    from asr.cli.segments import read_pairs
    from asr.plots import draw_reliability, save_picture
    from asr.scoring import calibration_error, reliability, reliability_by_count

    segments = read_pairs(options.pairs)
    check_outputs(options, segments)
    recognizer = load_recognizer(options)
    chosen = fitting_options(options, recognizer)
    decoder = recognizer.decoder(chosen, chosen_phrases(options), calibrated=False)
    heard = _recognise(recognizer, segments, decoder, options.batch_seconds)
    confidences, right = _joined(heard)
    calibration = fit_calibration(confidences, right)
    words = {"as found": (confidences, right)}
    if halves := _on_the_other_half(heard):
        words["calibrated"] = halves
        error = calibration_error(reliability(*halves))
        after = f"{error:.4f} calibrated on the other half of the recordings"
    else:
        after = "not known calibrated: in one half of the recordings all words are right, or none"
    before = calibration_error(reliability(confidences, right))
    print(
        f"{len(right)} words of {len(heard)} recordings by the decoder {chosen.name}, "
        f"{sum(right) / len(right):.1%} of them right\n"
        f"expected calibration error {before:.4f} as found, {after}\n"
        f"slope {calibration.slope:.4f}, offset {calibration.offset:.4f}"
    )
    if options.picture is not None:
        bins = {name: reliability_by_count(*each) for name, each in words.items()}
        save_picture(draw_reliability(bins), options.picture)
    if not options.dry_run:
        own = load_bundle(options.bundle)  # with the language that it has, whatever was tried
        found = {**own.calibrations, chosen.name: calibration}
        changed = replace(own, calibrations=found)
        save_bundle(changed, output_bundle(options), changed_from=options.bundle)
    return FAILURE if len(heard) < len(segments) else 0


def _recognise(
    recognizer: Recognizer, segments: Sequence[Segment], decoder: Decoder, batch_seconds: float
) -> list[_Heard]:
    """What is heard in each recording that can be read; the others are named.

    Raises:
        ConfigError: no recording can be read.
    """
    from asr.transcribe import in_order, transcribe_files

    heard = []
    with progress(len(segments), "recognising") as (advance, hidden):
        outcomes = transcribe_files(
            recognizer,
            [segment.audio for segment in segments],
            decoder,
            batch_seconds=batch_seconds,
            on_done=advance,
        )
        for index, outcome in in_order(outcomes):
            if isinstance(outcome, AsrError):
                with hidden():
                    complain(str(outcome))
            else:
                heard.append(_heard(outcome.hypotheses[0], segments[index].text or ""))
    if not heard:
        raise none_usable(segments)
    return heard


def _heard(hypothesis: Hypothesis, text: str) -> _Heard:
    from asr.scoring import right_tokens

    words = hypothesis.timed_words()
    right = right_tokens(text.split(), [word.text for word in words])
    return _Heard(tuple(word.confidence for word in words), tuple(right))


def _joined(heard: Sequence[_Heard]) -> tuple[list[float], list[bool]]:
    return (
        [confidence for each in heard for confidence in each.confidences],
        [right for each in heard for right in each.right],
    )


def _on_the_other_half(heard: Sequence[_Heard]) -> tuple[list[float], list[bool]] | None:
    """The words of every second recording, calibrated on the others, and those calibrated on them.

    None where there is nothing to learn from in one half: its words are all right, or all wrong.
    """
    from asr.calibration import fit_calibration

    halves = [_joined(heard[0::2]), _joined(heard[1::2])]
    if not all(0 < sum(right) < len(right) for _, right in halves):
        return None
    confidences: list[float] = []
    for mine, other in (halves, halves[::-1]):
        calibration = fit_calibration(*other)
        confidences += map(calibration, mine[0])
    return confidences, [*halves[0][1], *halves[1][1]]
