"""The model card (Mitchell et al. 2019), in the form of Hugging Face."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import NamedTuple

import torch
from lhotse.cut import Cut

from asr.bundle import Bundle
from asr.decoding import plain_values
from asr.machine import describe_machine
from recipes.common.data import manifest_path
from recipes.common.export import read_checkpoint
from recipes.common.manifests import read_manifest
from recipes.english.corpus import CORPUS
from recipes.english.measure import Domain, Measured

__all__ = ["Facts", "card"]

TEMPLATE = Path(__file__).with_name("card.md")
CURVES = "Curves"  # the part of a checkpoint that has the run's times
NOISE = (
    " The folder `noise` that the options name holds eight recordings of rooms, streets and "
    "weather under CC0 and CC BY, of github.com/rafaelmardojai/blanket."
)
HEADLINE = "librispeech"
SPEECH = {  # what the name of a corpus or of a part of it means to a reader
    "librispeech": "read books, native speakers (LibriSpeech dev-clean-4)",
    "an4": "spelling, numbers, short answers (AN4, a fold of the training part)",
    "speechocean": "learners of English, Mandarin speakers (speechocean762 dev)",
    "speechocean, adults": "of these, adults",
    "speechocean, children": "of these, children",
    "fsdd": "single digits, one speaker, 8 kHz (FSDD)",
}


class Source(NamedTuple):
    """What is said of a corpus that trained a model."""

    what: str
    licence: str


SOURCES = {
    "librispeech": Source(
        "LibriSpeech, train-clean-5: V. Panayotov, G. Chen, D. Povey, S. Khudanpur 2015, read by "
        "LibriVox's volunteers",
        "CC BY 4.0",
    ),
    "an4": Source("CMU AN4, training part: Carnegie Mellon University 1991", "free for any use"),
    "speechocean": Source(
        "speechocean762, training part: J. Zhang et al. 2021", "free for commercial and other use"
    ),
    "fsdd": Source("Free Spoken Digit Dataset: Z. Jackson et al.", "CC BY-SA 4.0"),
}


@dataclass(frozen=True)
class Facts:
    """What a card is made of.

    Attributes:
        measured: the figures of the bundle.
        data: the folder that it was trained on.
        checkpoint: that it is from.
        noise: whether recordings of noise were added in training.
        machines: that it was trained on, as far as they are known.
    """

    measured: Measured
    bundle: Bundle
    data: Path
    checkpoint: Path
    noise: bool
    machines: Sequence[str]


def card(facts: Facts, size: int) -> str:
    """The card of a bundle of ``size`` bytes.

    Raises:
        CorpusError: the data of the run cannot be read.
    """
    measured, bundle = facts.measured, facts.bundle
    weights = _weights(bundle)
    trained = _by_corpus(read_manifest(manifest_path(facts.data, "train")))
    values = {
        "data": _data_table(trained),
        "speech": f"{sum(map(_hours, trained.values())):.0f}",
        "corpora": " ".join(f"--{name} {name.upper()}" for name in trained),
        "rates": _rate_table(measured.domains),
        "ece": f"{measured.ece:.3f}",
        "slope": f"{measured.calibration.slope:.3f}",
        "offset": f"{measured.calibration.offset:.3f}",
        "size": f"{size / 1e6:.1f}",
        "parameters": f"{sum(p.numel() for p in bundle.model.parameters()):,}",
        "words": f"{_words(bundle):,}",
        "epochs": bundle.metadata["epochs"],
        "steps": f"{bundle.metadata['steps']:,}",
        "time": _time(facts.checkpoint),
        "cost": f"{measured.cost:.3f}",
        "here": describe_machine(torch.device("cpu")),
        "machine": "".join(f" Machine: {machine}." for machine in facts.machines),
        "decoder": ", ".join([bundle.decoder.name, *(f"{k} {v:g}" for k, v in weights.items())]),
        "weights": " ".join(f"--{k.replace('_', '-')} {v:g}" for k, v in weights.items()),
        "noise": NOISE if facts.noise else "",
        "wer": f"{100 * _headline(measured.domains).totals.errors.rate:.0f}",
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values)


def _headline(domains: Mapping[str, Domain]) -> Domain:
    """The domain whose error rate is told first: read books, where they are held out."""
    return domains.get(HEADLINE) or next(iter(domains.values()))


def _words(bundle: Bundle) -> int:
    lexicon = bundle.language.lexicon if bundle.language else None
    return len(lexicon.pronunciations) if lexicon else 0


def _weights(bundle: Bundle) -> dict[str, float]:
    """The decoder's options that are not the usual."""
    values = plain_values(bundle.decoder)
    usual = plain_values(type(bundle.decoder)())
    return {name: value for name, value in values.items() if value != usual[name]}


def _by_corpus(cuts: Iterable[Cut]) -> dict[str, list[Cut]]:
    """What was trained on, by corpus."""
    found: dict[str, list[Cut]] = defaultdict(list)
    for cut in cuts:
        found[(cut.supervisions[0].custom or {})[CORPUS]].append(cut)
    return {name: found[name] for name in SOURCES if name in found}


def _hours(cuts: Iterable[Cut]) -> float:
    return sum(cut.duration for cut in cuts) / 3600


def _data_table(trained: Mapping[str, Sequence[Cut]]) -> str:
    rows = []
    for name, cuts in trained.items():
        speakers = {cut.supervisions[0].speaker for cut in cuts}
        counts = f"{len(cuts):,}", str(len(speakers)), f"{_hours(cuts):.2f}"
        rows.append((SOURCES[name].what, *counts, SOURCES[name].licence))
    return _table(("corpus", "utterances", "speakers", "hours", "licence"), rows)


def _rate_table(domains: Mapping[str, Domain]) -> str:
    """Error rates of the held-out speakers."""
    rows = []
    for name in sorted(
        domains, key=lambda name: list(SPEECH).index(name) if name in SPEECH else 99
    ):
        totals, ece = domains[name].totals, domains[name].ece
        rows.append(
            (
                SPEECH.get(name, name),
                f"{totals.utterances:,}",
                str(totals.speakers),
                f"{100 * totals.errors.rate:.1f}",
                f"{100 * totals.low:.1f} to {100 * totals.high:.1f}",
                f"{ece:.3f}",
            )
        )
    return _table(("speech", "utterances", "speakers", "WER, %", "95 % interval", "ECE"), rows)


def _place(name: str) -> int:
    """Where a domain stands among the rows: those that are not known come last."""
    return list(SPEECH).index(name) if name in SPEECH else len(SPEECH)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _time(checkpoint: Path) -> str:
    """What is said of the time until the checkpoint, where it tells."""
    rows = read_checkpoint(checkpoint)["callbacks"].get(CURVES, {}).get("rows")
    return f" They took {rows[-1]['seconds'] / 3600:.1f} hours." if rows else ""
