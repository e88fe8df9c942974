"""Search in decoding graphs, against enumerating every sentence and every path of CTC."""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.decoding import Stop, StoppedError, WfstOptions, make_decoder, read_options
from asr.decoding.wfst.graph import save_graph
from asr.decoding.wfst.make import make_graph
from asr.lm.arpa import write_arpa
from asr.lm.kneser_ney import KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.tokens import Tokenizer
from asr.types import DecodingError

for package in ("kaldifst", "kaldilm", "kaldi_decoder"):
    pytest.importorskip(package, reason=f"{package}, of the extra wfst, is not installed")

LETTERS = Tokenizer(["<blank>", "<space>", "a", "b", "c"])
JOINED = Tokenizer(["<blank>", "a", "b", "c"])
SUBWORDS = Tokenizer(["<blank>", "▁", "▁a", "b"], "subwords", [-1.0, -1.0, -1.0])
PHONES = Tokenizer(["<blank>", "ah", "b", "t"], "phones")
EXACT = {"search_beam": 1000.0, "max_active": 30_000}


@dataclass
class Arpa:
    """A backoff model, not normalised: log10 of probabilities and of backoffs by n-gram."""

    log_probs: dict[tuple[str, ...], float]
    backoffs: dict[tuple[str, ...], float] = field(default_factory=dict)

    @classmethod
    def random(cls, seed: int, words: list[str], order: int) -> Arpa:
        rng = random.Random(seed)

        def some() -> float:
            return round(rng.uniform(-2.0, -0.05), 4)

        model = cls({(word,): some() for word in [*words, "</s>"]})
        model.log_probs["<s>",] = -99.0
        contexts: list[tuple[str, ...]] = [(word,) for word in ["<s>", *words]]
        for _ in range(order - 1):
            model.backoffs |= {context: round(rng.uniform(-1.0, 0.3), 4) for context in contexts}
            longer = [(*c, w) for c in contexts for w in [*words, "</s>"] if rng.random() < 0.5]
            model.log_probs |= {ngram: some() for ngram in longer}
            contexts = [ngram for ngram in longer if ngram[-1] != "</s>"]
        return model

    def write(self, path: Path) -> Path:
        orders = sorted({len(ngram) for ngram in self.log_probs})
        tables = {k: {n: p for n, p in self.log_probs.items() if len(n) == k} for k in orders}
        lines = ["\\data\\", *(f"ngram {k}={len(tables[k])}" for k in orders)]
        for k in orders:
            lines += ["", f"\\{k}-grams:"]
            for ngram, p in tables[k].items():
                end = f"\t{self.backoffs[ngram]}" if ngram in self.backoffs else ""
                lines.append(f"{p}\t{' '.join(ngram)}{end}")
        path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
        return path

    def best(self, sentence: tuple[str, ...]) -> float:
        """Natural logarithm of the sentence's probability; the graph may back off where it need
        not, so the highest over all ways to do so."""
        histories: dict[tuple[str, ...], float] = {("<s>",): 0.0}
        for word in (*sentence, "</s>"):
            after: dict[tuple[str, ...], float] = {}
            for history, score in histories.items():
                for n in range(len(history) + 1):
                    ngram = (*history[n:], word)
                    if ngram in self.log_probs:
                        total = score + self.log_probs[ngram]
                        known = next(
                            ngram[m:]
                            for m in range(len(ngram) + 1)
                            if m == len(ngram) or ngram[m:] in self.backoffs
                        )
                        after[known] = max(after.get(known, -math.inf), total)
                    score += self.backoffs.get(history[n:], 0.0)
            histories = after
        return max(histories.values(), default=-math.inf) * math.log(10)


@dataclass
class Task:
    """A tokenizer, a lexicon as lines of its file, and what stands between words."""

    tokenizer: Tokenizer
    ways: dict[str, list[str]]
    given: bool
    between: tuple[int, ...] = ()

    def graph(self, arpa: Arpa, folder: Path) -> str:
        lexicon = None
        if self.given:
            lexicon = folder / "lexicon.txt"
            lines = [f"{word} {way}\n" for word, ways in self.ways.items() for way in ways]
            lexicon.write_text("".join(lines), encoding="utf-8")
        save_graph(
            make_graph(self.tokenizer, arpa.write(folder / "lm.arpa"), lexicon), folder / "graph"
        )
        return str(folder / "graph")

    def labels(self, way: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.tokens.index(token) for token in way.split())

    def sentences(self, frames: int):
        """All sentences that fit into so many frames, with the labels of each way to say them."""
        ways = [(w, self.labels(way)) for w, ways in self.ways.items() for way in ways]
        for count in range(frames + 1):
            for said in itertools.product(ways, repeat=count):
                labels: tuple[int, ...] = ()
                for i, (_, way) in enumerate(said):
                    labels += (self.between if i else ()) + way
                if len(labels) <= frames:
                    yield tuple(word for word, _ in said), labels


TASKS = {
    "spelled": Task(LETTERS, {w: [" ".join(w)] for w in ("a", "ab", "bb", "cab")}, False, (1,)),
    "spelled without separator": Task(JOINED, {w: [" ".join(w)] for w in ("a", "aa", "cb")}, False),
    "letters by a lexicon": Task(
        LETTERS,
        {"one": ["a"], "won": ["a", "a b"], "two": ["a b", "b"], "x_y": ["a <space> b"]},
        True,
        (1,),
    ),
    "phones by a lexicon": Task(
        PHONES, {"to": ["t ah"], "two": ["t ah", "t"], "uh": ["ah"], "but": ["b ah t"]}, True
    ),
    "phones": Task(PHONES, {token: [token] for token in ("ah", "b", "t")}, False),
    "characters": Task(LETTERS, {token: [token] for token in LETTERS.tokens[1:]}, False),
    "words of subwords": Task(SUBWORDS, {"a": ["▁a"], "ab": ["▁a b"], "b": ["▁ b"]}, False),
    "subwords": Task(SUBWORDS, {token: [token] for token in SUBWORDS.tokens[1:]}, False),
    "subwords by a lexicon": Task(SUBWORDS, {"eh": ["▁a", "▁a b"], "hey": ["▁a b"]}, True),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(("seed", "order", "scale"), [(0, 1, 1.0), (1, 2, 0.6), (2, 3, 1.7)])
def test_the_best_of_all_sentences_and_paths(
    tmp_path, log_probs_of, every_path, squeezed, task, seed, order, scale
):
    arpa = Arpa.random(seed, list(task.ways), order)
    config = WfstOptions(graph=task.graph(arpa, tmp_path), acoustic_scale=scale, **EXACT)
    decoder = make_decoder(config, task.tokenizer, 0.02)
    for frames in range(6):
        log_probs = log_probs_of(100 * seed + frames, frames, task.tokenizer.size, 2.0)
        _, paths = every_path(log_probs.numpy())
        scored = [
            (scale * paths[labels][0] + arpa.best(words), words, labels)
            for words, labels in task.sentences(frames)
            if labels in paths
        ]
        score, words, labels = max(scored)
        ((found,),) = decoder.decode(log_probs[None], torch.tensor([frames]))
        assert found.score == pytest.approx(score, abs=1e-4)
        assert found.lm_score == pytest.approx(arpa.best(words), abs=1e-4)
        assert found.acoustic_score == pytest.approx(scale * paths[labels][0], abs=1e-4)
        labels = squeezed(labels, task.tokenizer.word_separator)
        expected = " ".join(words) if task.given else task.tokenizer.decode(labels)
        assert found.text == expected
        assert [task.tokenizer.tokens.index(t.token) for t in found.tokens] == list(labels)
        if task.given:
            assert [word.text for word in found.words] == list(words)


def spoken(tokenizer: Tokenizer, tokens: str, sure: float = 0.96) -> torch.Tensor:
    """``(1, T, V)``: these tokens, each a frame and a blank after it."""
    path = [i for token in tokens.split() for i in (tokenizer.tokens.index(token), 0)]
    frames = torch.full((1, len(path), tokenizer.size), (1 - sure) / (tokenizer.size - 1))
    frames[0, range(len(path)), path] = sure
    return frames.log()


def heard(graph: str, tokenizer: Tokenizer, tokens: str, **options: object):
    log_probs = spoken(tokenizer, tokens)
    config = read_options({"name": "wfst", "graph": graph, **options})
    lengths = torch.tensor([log_probs.shape[1]])
    ((found,),) = make_decoder(config, tokenizer, 0.02).decode(log_probs, lengths)
    return found


def test_the_language_model_tells_homophones_apart(tmp_path):
    task = Task(PHONES, {"to": ["t ah"], "two": ["t ah"], "b": ["b"], "t": ["t"]}, True)
    arpa = Arpa(
        {(w,): -1.5 for w in [*task.ways, "</s>"]}
        | {("<s>",): -99.0, ("to", "b"): -0.1, ("two", "t"): -0.1},
        {("to",): -1.0, ("two",): -1.0},
    )
    graph = task.graph(arpa, tmp_path)
    assert heard(graph, PHONES, "t ah b").text == "to b"
    assert heard(graph, PHONES, "t ah t").text == "two t"


def test_words_of_a_lexicon_have_the_times_and_confidence_of_their_tokens(tmp_path):
    task = TASKS["letters by a lexicon"]
    graph = task.graph(Arpa.random(0, list(task.ways), 1), tmp_path)
    found = heard(graph, LETTERS, "a <space> b <space> b")
    assert found.text in ("x_y two", "one two two", "won two two")
    assert found.words[0].start == found.tokens[0].start == 0.0
    assert found.words[-1].end == found.tokens[-1].end == pytest.approx(9 * 0.02)
    assert all(word.confidence == pytest.approx(0.96) for word in found.words)


def test_words_outside_the_model_become_words_inside(tmp_path):
    task = Task(LETTERS, {w: [" ".join(w)] for w in ("abc", "cab")}, False, (1,))
    arpa = Arpa.random(0, ["abc", "cab"], 1)
    found = heard(task.graph(arpa, tmp_path), LETTERS, "a b b c <space> c a b")
    assert found.text == "abc cab"


@pytest.mark.parametrize("way", ["b b", None])
def test_the_unknown_word_is_heard_only_if_the_lexicon_says_how(tmp_path, way):
    ways = {"one": ["a"], "two": ["b"], **({"<unk>": [way]} if way else {})}
    arpa = Arpa.random(0, ["one", "two"], 1)
    arpa.log_probs["<unk>",] = -0.01
    found = heard(Task(LETTERS, ways, True, (1,)).graph(arpa, tmp_path), LETTERS, "b b <space> a")
    assert found.text == ("<unk> one" if way else "two one")


def test_marks_of_the_tools_may_be_words(tmp_path):
    ways = {"#0": ["a"], "<eps>": ["b"], "#1": ["a b"], "w0": ["c"]}
    graph = Task(LETTERS, ways, True, (1,)).graph(Arpa.random(0, list(ways), 2), tmp_path)
    assert heard(graph, LETTERS, "b <space> c <space> a b").text == "<eps> w0 #1"
    assert heard(graph, LETTERS, "a").text == "#0"


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> dict[str, str]:
    made = {}
    for name, task in TASKS.items():
        folder = tmp_path_factory.mktemp("graph")
        made[name] = task.graph(Arpa.random(7, list(task.ways), 2), folder)
    return made


@pytest.mark.parametrize("name", ["spelled", "letters by a lexicon"])
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(0, 25), min_size=1, max_size=4),
    data=st.data(),
)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_an_utterance_is_the_same_alone_and_in_any_batch(
    graphs, log_probs_of, name, seed, lengths, data
):
    config = WfstOptions(graph=graphs[name], search_beam=6.0, max_active=20)
    decode = make_decoder(config, LETTERS, 0.02).decode
    alone = [log_probs_of(seed + i, n, 5) for i, n in enumerate(lengths)]
    expected = [decode(x[None], torch.tensor([len(x)]))[0] for x in alone]
    order = data.draw(st.permutations(range(len(lengths))))
    batch = torch.full((len(lengths), max(lengths) + 2, 5), math.nan)  # padding is never read
    for row, i in enumerate(order):
        batch[row, : lengths[i]] = alone[i]
    found = decode(batch, torch.tensor([lengths[i] for i in order]))
    assert found == [expected[i] for i in order]
    for (h,) in found:
        assert [w.text for w in h.words] == h.text.split()
        edges = [edge for word in h.words for edge in (word.start, word.end)]
        assert edges == sorted(edges)


def test_a_narrow_search_finds_nothing_better_than_a_wide_one(graphs, log_probs_of):
    scores = []
    log_probs = log_probs_of(3, 60, 5, 1.0)[None]
    for beam, active in ((1.0, 2), (16.0, 7000), (1000.0, 30_000)):
        config = WfstOptions(graph=graphs["spelled"], search_beam=beam, max_active=active)
        ((found,),) = make_decoder(config, LETTERS, 0.02).decode(log_probs, torch.tensor([60]))
        scores.append(found.score)
    assert scores[0] < scores[1]
    assert scores[1] == scores[2]


@pytest.mark.parametrize("given", [False, True])
def test_audio_cut_within_a_word_gives_what_was_heard_of_it(tmp_path, given):
    task = Task(LETTERS, {"abcabc": ["a b c a b c"], "ccc": ["c c c"]}, given, (1,))
    graph = task.graph(Arpa.random(0, list(task.ways), 1), tmp_path)
    found = heard(graph, LETTERS, "c c c <space> a b c a", search_beam=3.0, max_active=4)
    assert found.text == ("ccc abcabc" if given else "ccc abca")
    assert [token.token for token in found.tokens] == ["c", "c", "c", "<space>", "a", "b", "c", "a"]
    assert found.words[-1].end == found.tokens[-1].end
    after_word = heard(graph, LETTERS, "c c c <space>", search_beam=3.0, max_active=2)
    assert after_word.text == "ccc"


def test_log_probs_that_leave_no_path_name_their_utterance(graphs):
    log_probs = torch.full((2, 2, 5), -math.inf)
    log_probs[:, 0, 0] = 0.0
    log_probs[0, 1, 0] = log_probs[1, 1, 1] = 0.0  # a space between no words
    config = WfstOptions(graph=graphs["spelled"])
    with pytest.raises(DecodingError, match=r"no path .* utterance 1 "):
        make_decoder(config, LETTERS, 0.02).decode(log_probs, torch.tensor([2, 2]))


def test_values_that_are_not_numbers_name_their_utterance(graphs, log_probs_of):
    log_probs = torch.stack([log_probs_of(i, 4, 5) for i in range(2)])
    log_probs[1, 2, 3] = math.nan
    config = WfstOptions(graph=graphs["spelled"])
    with pytest.raises(DecodingError, match=r"utterance 1 .*frame 2"):
        make_decoder(config, LETTERS, 0.02).decode(log_probs, torch.tensor([4, 4]))


def test_a_request_to_stop_that_came_before_ends_it_at_once(graphs, log_probs_of):
    stop = Stop()
    stop.set()
    config = WfstOptions(graph=graphs["spelled"])
    with pytest.raises(StoppedError):
        make_decoder(config, LETTERS, 0.02).decode(
            log_probs_of(0, 0, 5)[None], torch.tensor([0]), stop
        )


@pytest.mark.timed
def test_a_search_of_minutes_ends_within_a_tenth_of_a_second(tmp_path):
    tokenizer = Tokenizer(["<blank>", "<space>", *"abcdefghij"])
    words = ["".join(letters) for letters in itertools.product("abcdefghij", repeat=3)]
    task = Task(tokenizer, {word: [" ".join(word)] for word in words}, False)
    arpa = Arpa({(w,): -3.0 for w in [*words, "</s>"]} | {("<s>",): -99.0})
    config = WfstOptions(graph=task.graph(arpa, tmp_path), **EXACT)
    torch.manual_seed(0)
    log_probs = torch.randn(1, 200_000, tokenizer.size).log_softmax(2)
    stop, ended = Stop(), []

    def search() -> None:
        with pytest.raises(StoppedError):
            make_decoder(config, tokenizer, 0.02).decode(log_probs, torch.tensor([200_000]), stop)
        ended.append(time.monotonic())

    thread = threading.Thread(target=search)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive(), "the search is too short to be stopped"
    asked = time.monotonic()
    stop.set()
    thread.join(30)
    assert ended[0] - asked < 0.1


@pytest.mark.parametrize("order", [2, 3])
def test_models_of_lm_train_give_sentences_their_own_probability(tmp_path, log_probs_of, order):
    """To back off where the model has the n-gram never pays by itself, but from order 3 on it may
    pay to forget a word before the next by it: then a graph gives more."""
    rng = random.Random(0)
    words = ["a", "ab", "bb", "cab", "abc", "cc"]
    text = [[rng.choice(words[: rng.randint(1, 6)]) for _ in range(5)] for _ in range(200)]
    sentences = [[word.encode() for word in sentence] for sentence in text]
    ngrams = estimate(sentences, KneserNeyConfig(order=order, discount_fallback=(0.5, 1.0, 1.5)))
    write_arpa(ngrams, tmp_path / "lm.arpa")
    save_graph(make_graph(LETTERS, tmp_path / "lm.arpa"), tmp_path / "graph")
    config = WfstOptions(graph=str(tmp_path / "graph"))
    model = LanguageModel.load(tmp_path / "lm.arpa")
    log_probs = torch.stack([log_probs_of(seed, 60, 5) for seed in range(8)])
    for (found,) in make_decoder(config, LETTERS, 0.02).decode(log_probs, torch.full((8,), 60)):
        said = found.text.split()
        assert len(said) > 5
        expected = model.score_sentence(said).sum() * math.log(10)
        rounding = 2e-5 * (len(said) + 1)  # weights of arcs are rounded to 1e-5
        assert found.lm_score > expected - rounding
        if order == 2:
            assert found.lm_score < expected + rounding
