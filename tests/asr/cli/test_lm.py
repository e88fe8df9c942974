"""``asr lm``: a model from text, its perplexity, and one line for what cannot be."""

from __future__ import annotations

import gzip
import random

import pytest

from asr.cli.main import main

SOUNDS = "ba di gu ke lo".split()


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    status = main(["lm", *(str(argument) for argument in arguments)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def figures(out: str) -> dict[str, str]:
    lines = [line.strip().rsplit("  ", 1) for line in out.splitlines()]
    return {name.strip(): value.strip().split()[0] for name, value in lines}


@pytest.fixture
def text(tmp_path) -> str:
    rng = random.Random(0)
    words = ["".join(rng.choices(SOUNDS, k=rng.randint(1, 3))) for _ in range(80)]
    lines = []
    for _ in range(150):
        picked = [words[int(81 ** rng.random()) - 1] for _ in range(rng.randint(1, 6))]
        lines.append(" ".join(picked))
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_model_is_made_and_foresees_its_text_better_the_longer_its_ngrams(capsys, text, tmp_path):
    perplexities = []
    for order in (1, 2, 3):
        model = tmp_path / f"{order}.arpa.gz"
        made = run(
            capsys, "train", text, "--order", order, "--output", model, "--discount-fallback"
        )
        assert made == (0, "", "")
        status, out, err = run(capsys, "score", model, text)
        assert (status, err) == (0, "")
        found = figures(out)
        assert found["sentences"] == "150"
        assert found["words"] == str(len(open_words(text)))
        assert found["unknown"] == "0"
        assert found["perplexity"] == found["of known"]
        perplexities.append(float(found["perplexity"]))
    assert perplexities == sorted(perplexities, reverse=True)
    assert perplexities[0] > 2 * perplexities[2]


def open_words(path: str) -> list[str]:
    with open(path, encoding="utf-8") as stream:
        return stream.read().split()


def test_the_file_is_that_of_lmplz(capsys, tmp_path, request):
    folder = request.path.parents[1] / "lm" / "lmplz"
    output = tmp_path / "model.arpa"
    assert run(capsys, "train", folder / "text.txt", "--prune", 0, 0, 1, "--output", output) == (
        0,
        "",
        "",
    )
    theirs = gzip.decompress((folder / "order3-pruned.arpa.gz").read_bytes()).decode()
    ours = output.read_text(encoding="utf-8")
    fields = [[line.split("\t") for line in text.splitlines()] for text in (ours, theirs)]
    # Headers, and the words of all lines in the same sequence.
    assert [f[1] if len(f) > 1 else f for f in fields[0] if f != [""]] == [
        f[1] if len(f) > 1 else f for f in fields[1] if f != [""]
    ]


def test_each_sentence_is_told_with_verbose(capsys, text, tmp_path):
    model = tmp_path / "model.arpa"
    run(capsys, "train", text, "--vocab-limit", 5, "--output", model, "--discount-fallback")
    heard = tmp_path / "heard.txt"
    heard.write_text("never said\n\n")
    status, out, _ = run(capsys, "score", model, heard, "--verbose")
    first, *rest = out.splitlines()
    log_prob, perplexity, unknown, words = first.split("\t")
    assert status == 0
    assert words == "never said"
    assert unknown == "2"
    assert float(perplexity) == pytest.approx(10 ** (-float(log_prob) / 3), rel=1e-3)
    found = figures("\n".join(rest))
    assert (found["sentences"], found["words"], found["unknown"]) == ("1", "2", "2")
    assert float(found["perplexity"]) == pytest.approx(float(perplexity), rel=1e-3)


def test_characters_and_phones(capsys, text, tmp_path):
    for units, known in (("characters", "<space>"), ("phones", "ba")):
        model = tmp_path / f"{units}.arpa"
        arguments = ("--units", units, "--discount-fallback", 0.4, 0.9, 1.2)
        assert run(capsys, "train", text, *arguments, "--output", model)[0] == 0
        assert f"\t{known}\t" in model.read_text()
        status, out, _ = run(capsys, "score", model, text, "--units", units)
        assert status == 0
        assert figures(out)["unknown"] == "0"


def test_a_model_is_pruned_and_written_in_any_form(capsys, text, tmp_path):
    whole, pruned = tmp_path / "whole.arpa.gz", tmp_path / "pruned.arpa.gz"
    assert run(capsys, "train", text, "--discount-fallback", "--output", whole)[0] == 0
    status, out, err = run(capsys, "prune", whole, "--threshold", 1e-3, "--output", pruned)
    assert (status, err) == (0, "")
    kept = [line.split() for line in out.splitlines()]
    assert [line[0] for line in kept] == ["1-grams:", "2-grams:", "3-grams:"]
    assert kept[0][1] == kept[0][3]
    assert 0 < int(kept[1][1]) < int(kept[1][3])
    for name in ("whole.compact", "back.arpa"):
        assert run(capsys, "convert", whole, "--output", tmp_path / name)[0] == 0
    perplexities = [
        float(figures(run(capsys, "score", model, text)[1])["perplexity"])
        for model in (whole, tmp_path / "whole.compact", tmp_path / "back.arpa", pruned)
    ]
    assert perplexities[1] == pytest.approx(perplexities[0], rel=0.037)  # what rounding may do
    assert perplexities[2] == perplexities[0]
    assert perplexities[3] > perplexities[0]


def test_a_text_is_pruned_while_it_is_learnt(capsys, text, tmp_path):
    sizes = []
    for name, options in (("whole", ()), ("pruned", ("--threshold", 1e-3))):
        model = tmp_path / f"{name}.compact"
        arguments = ("--discount-fallback", *options, "--output", model)
        assert run(capsys, "train", text, *arguments)[0] == 0
        sizes.append(model.stat().st_size)
    assert sizes[1] < sizes[0]


def test_words_of_a_list(capsys, text, tmp_path):
    (tmp_path / "words.txt").write_text("ba\nunheard\n")
    model = tmp_path / "model.arpa"
    arguments = ("--vocab", tmp_path / "words.txt", "--discount-fallback", "--output", model)
    assert run(capsys, "train", text, *arguments)[0] == 0
    assert "ngram 1=4\n" in model.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{text}", "--output", "{folder}"], "this is a folder"),
        (["train", "{text}", "--output", "{folder}/no/a.arpa"], "there is no such folder"),
        (["train", "{text}", "--output", "/proc/a.arpa"], "nothing can be written there"),
        (["train", "{text}", "--output", "{text}"], "which is read"),
        (["train", "{folder}/none.txt", "--output", "{out}"], "none.txt: cannot read: No such"),
        (["train", "{empty}", "--output", "{out}"], "empty.txt: the text is empty"),
        (["train", "{latin}", "--output", "{out}"], "latin.txt, line 2: not UTF-8 text"),
        (["train", "{text}", "--output", "{out}", "--units", "bits"], "unknown units 'bits'"),
        (["train", "{text}", "--output", "{out}", "--order", "0"], "the order is 0"),
        (["train", "{text}", "--output", "{out}", "--prune", "1", "0"], "pruning is 1 0"),
        (
            ["train", "{text}", "--output", "{out}", "--discount-fallback", "1", "1"],
            "2 fallback discounts are given",
        ),
        (["train", "{one}", "--output", "{out}"], "no discounts for 1-grams"),
        (["train", "{text}", "--output", "{out}", "--threshold", "-1"], "pruning threshold is -1"),
        (["prune", "{model}", "--threshold", "nan", "--output", "{out}"], "pruning threshold is"),
        (["prune", "{model}", "--threshold", "1", "--output", "{model}"], "which is read"),
        (["prune", "{text}", "--threshold", "1", "--output", "{out}"], "this is no ARPA file"),
        (["convert", "{folder}/none.arpa", "--output", "{out}"], "none.arpa: cannot read: No such"),
        (["score", "{text}", "{text}"], "this is no ARPA file"),
        (["score", "{folder}/none.arpa", "{text}"], "none.arpa: cannot read: No such"),
        (["score", "{model}", "{empty}"], "the text is empty"),
        (["score", "{model}", "{latin}"], "latin.txt, line 2: not UTF-8 text"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(capsys, text, tmp_path, arguments, message):
    paths = {name: tmp_path / f"{name}.txt" for name in ("empty", "latin", "one", "out", "model")}
    paths["empty"].write_text("\n \n")
    paths["latin"].write_bytes(b"a\n\xe9t\xe9\n")
    paths["one"].write_text("a b\n")
    options = ("--discount-fallback", "--output", paths["model"])
    assert run(capsys, "train", paths["one"], *options)[0] == 0
    places = {"text": text, "folder": tmp_path, **paths}
    status, out, err = run(capsys, *(argument.format(**places) for argument in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("asr: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not paths["out"].exists()
