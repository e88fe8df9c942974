"""Two results beside each other: which is better, and whether that can be told."""

import json

import pytest

from asr.scoring import matched_pairs
from asr.types import ConfigError
from recipes.common.cli import main
from recipes.common.compare import compare
from recipes.common.metric import WER


def result(path, texts, speakers=None):
    """Rows as `evaluate` writes them, of references and hypotheses."""
    rows = [
        {
            "id": f"u{number}",
            "speaker": speakers[number] if speakers else None,
            "reference": reference,
            "hypothesis": hypothesis,
        }
        for number, (reference, hypothesis) in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def pair(tmp_path):
    """Of 40 sentences the first gets 20 wrong, the second 4 of these."""
    said = "one two three four five"
    wrong = "one two tree four five"
    first = [(said, wrong if n < 20 else said) for n in range(40)]
    second = [(said, wrong if n < 4 else said) for n in range(40)]
    speakers = [f"s{n % 8}" for n in range(40)]
    return [
        result(tmp_path / name, texts, speakers)
        for name, texts in (("a.jsonl", first), ("b.jsonl", second))
    ]


def test_the_better_one_is_named(pair, toy, capsys):
    found = compare(WER, *pair)
    assert (found.first.total, found.second.total) == (20, 4)
    assert found.drawn == "speaker"
    assert found.bootstrap.low > 0.0
    said, wrong = ["one two three four five".split()] * 40, "one two tree four five".split()
    heard = [[wrong if n < count else said[0] for n in range(40)] for count in (20, 4)]
    assert found.pairs == matched_pairs(said, *heard)
    assert main(toy.recipe(), ["compare", *map(str, pair)]) == 0
    told = capsys.readouterr().out
    assert "B, by the matched pairs" in told
    assert main(toy.recipe(), ["compare", *map(str, pair[::-1])]) == 0
    assert "A, by the matched pairs" in capsys.readouterr().out


def test_the_metric_has_the_name_that_both_results_give_it(pair, toy, capsys):
    for path in pair:
        assert main(toy.recipe(), ["compare", *map(str, pair)]) == 0
        assert "WER of A" in capsys.readouterr().out
        path.with_suffix(".json").write_text('{"options": {"metric": "PER"}}')
        if path == pair[0]:
            pair[1].with_suffix(".json").write_text('{"options": {"metric": "WER"}}')
    assert main(toy.recipe(), ["compare", *map(str, pair)]) == 0
    assert "PER of A" in capsys.readouterr().out


def test_what_cannot_be_told_is_not_claimed(tmp_path, toy, capsys):
    texts = [("a b", "a b")] * 9
    first = result(tmp_path / "a.jsonl", [("a b", "a c"), *texts])
    second = result(tmp_path / "b.jsonl", [("a b", "a b"), *texts])
    assert compare(WER, first, second).drawn == "utterance"
    for one, other in ((first, second), (first, first)):
        assert main(toy.recipe(), ["compare", str(one), str(other)]) == 0
        assert "cannot be told" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "b.jsonl"),
        ("", "no rows"),
        ("rubbish\n", "line 1: this is no row"),
        ('{"id": "u0"}\n', "line 1: this is no row"),
        ("[1]\n", "line 1: this is no row"),
        ('{"id": 1, "reference": "a", "hypothesis": "a"}\n', "line 1: this is no row"),
        ('{"id": "u9", "reference": "a", "hypothesis": "a"}\n', "39 utterances are in one"),
        ("TWICE", "line 41: u0 stands here twice"),
        ("OTHER", "u0 has another reference"),
    ],
)
def test_results_that_cannot_be_compared(pair, toy, capsys, content, message):
    first, second = pair
    if content is None:
        second.unlink()
    elif content == "TWICE":
        second.write_text(second.read_text() + second.read_text().splitlines()[0])
    elif content == "OTHER":
        second.write_text(second.read_text().replace('"one two three', '"two two three', 1))
    else:
        second.write_text(content)
    with pytest.raises(ConfigError, match=message):
        compare(WER, first, second)
    assert main(toy.recipe(), ["compare", str(first), str(second)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
