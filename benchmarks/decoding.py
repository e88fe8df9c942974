"""Beam search beside flashlight-text, fast-ctc-decode and plain Python, on AN4's development part.

``python -m benchmarks.decoding`` prints the tables of ``docs/decoding.md``. It needs a model of
characters, as the commands in ``recipes/an4/RESULTS.md`` train it. All decoders get the same
log-probabilities, an utterance at a time, in one thread. Weights of the language model, which is
made from the training part's texts alone, are tuned by two folds: those of the speakers of one half
are used on the other. Peers that are not installed (the extra ``peers``) are left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from asr.decoding import BeamOptions, DecoderOptions, GreedyOptions, make_decoder
from asr.decoding.beam.decoder import BeamDecoder
from asr.decoding.beam.language import Language
from asr.lm.arpa import write_arpa
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.machine import describe_machine
from asr.recognizer import Recognizer
from asr.scoring import ErrorCounts, token_errors
from asr.tokens import Tokenizer
from benchmarks.python_beam import prefix_beam_search as in_python
from benchmarks.timing import compare, markdown, note
from recipes.common.data import manifest_path
from recipes.common.export import best_checkpoint, bundle_from_checkpoint
from recipes.common.manifests import load_samples, read_manifest

if TYPE_CHECKING:
    from benchmarks.flashlight import Words

Frames = NDArray[np.float32]
Search = Callable[[Frames], str]
Maker = Callable[..., Search]  # from weights
CPU = torch.device("cpu")
FLASHLIGHT, FAST_CTC = "flashlight", "fast_ctc_decode"
THRESHOLD = 20.0
FEW_TOKENS = 5  # flashlight's own limit on tokens a frame
LM_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
WORD_SCORES = (-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
UNK_SCORES = (-1.0, -2.0, -3.0, -5.0, -8.0)  # of words outside the lexicon
OURS, WHOLE = "peephole-asr, search alone", "peephole-asr, `Decoder.decode`"


@dataclass(frozen=True)
class Utterance:
    speaker: str
    text: str
    frames: Frames


@dataclass(frozen=True)
class Corpus:
    """Development utterances and what all decoders know."""

    utterances: tuple[Utterance, ...]
    tokenizer: Tokenizer
    seconds_per_frame: float
    language: Language
    words: Words | None  # None without flashlight-text

    @property
    def frame_count(self) -> int:
        return sum(len(utterance.frames) for utterance in self.utterances)

    def halves(self) -> tuple[tuple[Utterance, ...], tuple[Utterance, ...]]:
        """Every other speaker, by name."""
        speakers = sorted({utterance.speaker for utterance in self.utterances})[::2]
        first = tuple(u for u in self.utterances if u.speaker in speakers)
        return first, tuple(u for u in self.utterances if u.speaker not in speakers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("exp/an4/run-peephole"))
    parser.add_argument("--data", type=Path, default=Path("exp/an4/characters"))
    parser.add_argument("--beam-widths", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for package in (FLASHLIGHT, FAST_CTC):
        if not _is_here(package):
            note(f"{package} is not installed and left out")
    with _corpus(options.run, options.data) as corpus:
        print(f"{describe_machine(CPU)}; {len(corpus.utterances)} utterances\n")
        for width in options.beam_widths:
            _print_without(corpus, width, options.rounds)
            _print_with(corpus, width, options.rounds)


def _is_here(package: str) -> bool:
    return find_spec(package) is not None


@contextmanager
def _corpus(run: Path, data: Path) -> Iterator[Corpus]:
    recognizer = Recognizer(bundle_from_checkpoint(best_checkpoint(run), "an4"))
    tokenizer = recognizer.tokenizer
    training = [c.supervisions[0].text.split() for c in read_manifest(manifest_path(data, "train"))]
    ngrams = estimate(
        ([word.encode() for word in words] for words in training),
        KneserNeyConfig(order=3, discount_fallback=FALLBACK),
    )
    language = Language(tokenizer, LanguageModel(ngrams))
    utterances = []
    cuts = list(read_manifest(manifest_path(data, "dev")))
    for cut in track(cuts, description="computing log-probabilities", transient=True):
        log_probs, _ = recognizer.log_probs([load_samples(cut)])
        said = cut.supervisions[0]
        frames = np.ascontiguousarray(log_probs[0].numpy())
        utterances.append(Utterance(said.speaker, said.text, frames))
    with TemporaryDirectory() as folder:
        write_arpa(ngrams, Path(folder) / "lm.arpa")
        names = [word for word in ngrams.vocabulary if not word.startswith("<")]
        words = _flashlight_words(tokenizer, names, Path(folder) / "lm.arpa")
        yield Corpus(tuple(utterances), tokenizer, recognizer.seconds_per_frame, language, words)


def _flashlight_words(tokenizer: Tokenizer, names: list[str], arpa: Path) -> Words | None:
    if not _is_here(FLASHLIGHT):
        return None
    from benchmarks.flashlight import Words

    return Words(tokenizer, names, arpa)


# Searches: frames to text


def _greedy(corpus: Corpus) -> Search:
    return _whole(corpus, GreedyOptions())


def _ours(corpus: Corpus, config: DecoderOptions) -> Search:
    """The search alone, as that of the others."""
    language = corpus.language if config.lm_weight else None
    decoder = BeamDecoder(config, corpus.tokenizer, corpus.seconds_per_frame, language)

    def search(frames: Frames) -> str:
        stream = decoder.begin()
        return stream.text(stream.search(frames)[0])

    return search


def _whole(corpus: Corpus, config: DecoderOptions) -> Search:
    """All of it: checks, times, confidences."""
    decoder = make_decoder(config, corpus.tokenizer, corpus.seconds_per_frame, corpus.language)

    def search(frames: Frames) -> str:
        return decoder.decode(torch.from_numpy(frames)[None], torch.tensor([len(frames)]))[0][
            0
        ].text

    return search


def _python(corpus: Corpus, width: int) -> Search:
    least = BeamOptions().token_min_log_prob
    return lambda frames: corpus.tokenizer.decode(in_python(frames, width, least)[0][0])


def _flashlight(corpus: Corpus, width: int) -> dict[str, Search]:
    if not _is_here(FLASHLIGHT):
        return {}
    from benchmarks.flashlight import lexicon_free

    V = corpus.tokenizer.size
    return {
        "flashlight-text": lexicon_free(corpus.tokenizer, width, V, THRESHOLD),
        f"flashlight-text, {FEW_TOKENS} tokens a frame": lexicon_free(
            corpus.tokenizer, width, FEW_TOKENS, THRESHOLD
        ),
    }


def _fast_ctc(corpus: Corpus, width: int) -> dict[str, Search]:
    if not _is_here(FAST_CTC):
        return {}
    from fast_ctc_decode import beam_search

    alphabet = [token if len(token) == 1 else " " for token in corpus.tokenizer.tokens]
    least = math.exp(BeamOptions().token_min_log_prob)

    def search(frames: Frames) -> str:
        found, _ = beam_search(np.exp(frames), alphabet, width, least)
        return found

    return {"fast-ctc-decode": search}


# Tables


def _print_without(corpus: Corpus, width: int, rounds: int) -> None:
    config = BeamOptions(beam_width=width, beam_threshold=THRESHOLD, lm_weight=0.0)
    searches = {
        "greedy, `Decoder.decode`": _greedy(corpus),
        OURS: _ours(corpus, config),
        WHOLE: _whole(corpus, config),
        **_flashlight(corpus, width),
        **_fast_ctc(corpus, width),
        "plain Python": _python(corpus, width),
    }
    rates = {name: _rate(corpus.utterances, search) for name, search in searches.items()}
    _print_table(corpus, f"{width} wide, no language model", searches, rates, rounds)


def _print_with(corpus: Corpus, width: int, rounds: int) -> None:
    base = BeamOptions(beam_width=width, beam_threshold=THRESHOLD)

    def config(lm_weight: float, score: float, unk_score: float | None = None) -> BeamOptions:
        return replace(base, lm_weight=lm_weight, word_score=score, unk_score=unk_score)

    pairs = tuple(product(LM_WEIGHTS, WORD_SCORES))
    makers: dict[str, tuple[Maker, Sequence[tuple[float, ...]]]] = {
        OURS: (lambda *weights: _ours(corpus, config(*weights)), pairs),
        **{name: (maker, pairs) for name, maker in _flashlight_makers(corpus, width).items()},
        "peephole-asr, other words allowed": (
            lambda *weights: _ours(corpus, config(*weights)),
            tuple(product(LM_WEIGHTS, WORD_SCORES, UNK_SCORES)),
        ),
    }
    rates, searches = {}, {}
    for name, (maker, candidates) in makers.items():
        note(f"tuning {name}, {width} wide")
        rates[name], best = _two_folds(corpus, maker, candidates)
        searches[name] = maker(*best)
        if name == OURS:
            searches[WHOLE], rates[WHOLE] = _whole(corpus, config(*best)), rates[OURS]
    _print_table(corpus, f"{width} wide, word trigrams", searches, rates, rounds)


def _flashlight_makers(corpus: Corpus, width: int) -> dict[str, Maker]:
    words = corpus.words
    if words is None:
        return {}
    sizes = {
        "flashlight-text": corpus.tokenizer.size,
        f"flashlight-text, {FEW_TOKENS} tokens a frame": FEW_TOKENS,
    }

    def maker(tokens: int) -> Maker:
        return lambda weight, score: words.decoder(weight, score, width, tokens, THRESHOLD)

    return {name: maker(tokens) for name, tokens in sizes.items()}


def _two_folds(
    corpus: Corpus, maker: Maker, candidates: Sequence[tuple[float, ...]]
) -> tuple[float, tuple[float, ...]]:
    """The error rate of both halves, each with weights of the other; the weights of the first."""
    halves = corpus.halves()
    best = [
        min(candidates, key=lambda weights: _errors(half, maker(*weights)).total) for half in halves
    ]
    errors = _errors(halves[0], maker(*best[1])) + _errors(halves[1], maker(*best[0]))
    note(f"weights {best[0]} and {best[1]}: {errors.total} errors")
    return errors.rate, best[0]


def _errors(utterances: Sequence[Utterance], search: Search) -> ErrorCounts:
    counts = (token_errors(u.text.split(), search(u.frames).split()) for u in utterances)
    return sum(counts, ErrorCounts())


def _rate(utterances: Sequence[Utterance], search: Search) -> float:
    return _errors(utterances, search).rate


def _print_table(
    corpus: Corpus,
    title: str,
    searches: dict[str, Search],
    rates: dict[str, float],
    rounds: int,
) -> None:
    def run(search: Search) -> Callable[[], object]:
        return lambda: [search(u.frames) for u in corpus.utterances]

    note(f"timing {title}")
    seconds = compare({name: run(search) for name, search in searches.items()}, CPU, rounds)
    cells = markdown(seconds, OURS, 1e3 / corpus.frame_count, "µs")
    audio = corpus.frame_count * corpus.seconds_per_frame
    print(f"| {title} | word error rate | a frame | times as fast as ours | times real time |")
    print("|---|---|---|---|---|")
    for name, (time, ratio) in cells.items():
        real = audio / float(np.median(seconds[name]))
        print(f"| {name} | {100 * rates[name]:.2f} % | {time} | {ratio} | {real:.0f} |")
    print(flush=True)


if __name__ == "__main__":
    main()
