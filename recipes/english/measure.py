"""How well a bundle recognises the held-out speakers of each corpus, and how sure it should be."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lhotse.cut import Cut
from rich.progress import track

from asr.bundle import Bundle
from asr.calibration import Calibration, fit_calibration
from asr.decoding import Priors
from asr.recognizer import Recognizer
from asr.scoring import ReliabilityBin, calibration_error, reliability
from asr.types import CorpusError
from recipes.common.data import manifest_path
from recipes.common.evaluate.recognition import recordings, score_cuts
from recipes.common.evaluate.scored import Scored
from recipes.common.evaluate.totals import Totals, total_scores
from recipes.common.evaluate.units import choose_scoring
from recipes.common.manifests import read_manifest
from recipes.common.recipe import Recipe
from recipes.english.corpus import DEV

__all__ = ["CHILD", "Domain", "Measured", "development_priors", "held_out_splits", "measure"]

BATCH_SECONDS = 40.0
CHILD = 16  # years from which a speaker counts as grown up
AGE = "age"


@dataclass(frozen=True)
class Domain:
    """Error rates of one kind of speech; ``ece`` with confidences calibrated on others."""

    totals: Totals
    ece: float


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes:
        domains: by name.
        calibration: of all words, for the bundle.
        before: the words by confidence, as the decoder gives it.
        after: the same, each calibrated on the other half of the speakers.
        cost: seconds of processor time for a second of speech.
    """

    domains: Mapping[str, Domain]
    calibration: Calibration
    before: Sequence[ReliabilityBin]
    after: Sequence[ReliabilityBin]
    cost: float

    @property
    def ece(self) -> float:
        """The calibration error over all words, calibrated on other speakers."""
        return calibration_error(self.after)


def held_out_splits(data: Path) -> dict[str, list[Cut]]:
    """The held-out utterances of each corpus by its name.

    Raises:
        CorpusError: ``data`` has none, or they are damaged.
    """
    ending = manifest_path(Path(), "").name
    names = sorted(path.name.removesuffix(ending) for path in data.glob(f"{DEV}-*{ending}"))
    if not names:
        raise CorpusError("no held-out parts here", where=str(data), remedy="run `prepare` first")
    return {
        name.removeprefix(f"{DEV}-"): list(read_manifest(manifest_path(data, name)))
        for name in names
    }


def development_priors(bundle: Bundle, data: Path) -> Priors:
    """The priors of the model's tokens over the split that chooses checkpoints, as in training.

    Raises:
        CorpusError: ``data`` has no such split, or it is damaged.
    """
    recognizer = Recognizer(bundle)
    cuts = list(read_manifest(manifest_path(data, DEV)))
    read = recordings(track(cuts, description="priors", transient=True))
    return Priors.of_speech(recognizer.log_probs([waveform]) for waveform, _ in read)


def measure(recipe: Recipe, bundle: Bundle, data: Path) -> Measured:
    """Recognise all that is held out, by the bundle's own decoder.

    Raises:
        CorpusError: see :func:`held_out_splits`, or nothing can be recognised.
        ConfigError: all words are right, or all wrong: that says nothing of confidence.
    """
    splits = held_out_splits(data)
    recognizer = Recognizer(bundle)
    scoring = choose_scoring(recipe, recognizer, bundle.decoder, splits)
    decoder = recognizer.decoder(bundle.decoder, calibrated=False)
    first = next(iter(splits.values()))[:1]
    score_cuts(scoring, recognizer, first, decoder, BATCH_SECONDS)  # compiles the search
    started = time.process_time()
    scored = {
        name: score_cuts(scoring, recognizer, cuts, decoder, BATCH_SECONDS)
        for name, cuts in splits.items()
    }
    spent = time.process_time() - started
    every = [each for name in scored for each in scored[name]]
    surer = _on_other_speakers(every)
    return Measured(
        {name: _domain(part, surer) for name, part in _domains(scored).items()},
        fit_calibration(*_words(every)),
        reliability(*_words(every)),
        _bins(every, surer),
        spent / sum(each.seconds for each in every),
    )


def _domains(scored: Mapping[str, Sequence[Scored]]) -> dict[str, list[Scored]]:
    """The splits, and of one that knows its speakers' age, children and adults."""
    found = {}
    for name, part in scored.items():
        found[name] = list(part)
        children = [each for each in part if int(each.fields.get(AGE, CHILD)) < CHILD]
        if children:
            adults = [each for each in part if int(each.fields.get(AGE, CHILD)) >= CHILD]
            found[f"{name}, adults"], found[f"{name}, children"] = adults, children
    return found


def _domain(scored: Sequence[Scored], calibrations: Mapping[str, Calibration]) -> Domain:
    return Domain(total_scores(scored), calibration_error(_bins(scored, calibrations)))


def _on_other_speakers(scored: Sequence[Scored]) -> dict[str, Calibration]:
    """For each utterance the calibration that the speakers of the other half give.

    Raises:
        ConfigError: see :func:`asr.calibration.fit_calibration`.
    """
    speakers = sorted({each.speaker or each.id for each in scored})
    first = set(speakers[::2])
    halves: tuple[list[Scored], list[Scored]] = ([], [])
    for each in scored:
        halves[(each.speaker or each.id) in first].append(each)
    fitted = [fit_calibration(*_words(half)) for half in halves]
    return {
        each.id: other for half, other in zip(halves, fitted[::-1], strict=True) for each in half
    }


def _bins(
    scored: Sequence[Scored], calibrations: Mapping[str, Calibration]
) -> list[ReliabilityBin]:
    confidences = [calibrations[e.id](word.confidence) for e in scored for word in e.words]
    return reliability(confidences, [right for e in scored for right in e.right])


def _words(scored: Sequence[Scored]) -> tuple[list[float], list[bool]]:
    """The confidence of each word, and whether it was said."""
    return (
        [word.confidence for each in scored for word in each.words],
        [right for each in scored for right in each.right],
    )
