"""Makes the files of this folder: ``python make.py LMPLZ QUERY``. See README.md beside it.

The text is drawn from a grammar written for the purpose, so that it is ours and small, and has
n-grams of every low count: common words, rare words, names said once.
"""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
MODELS = {
    "order1": ["-o", "1", "--discount_fallback"],
    "order2": ["-o", "2"],
    "order3": ["-o", "3"],
    "order4": ["-o", "4"],
    "order3-pruned": ["-o", "3", "--prune", "0", "0", "1"],
    "order4-pruned": ["-o", "4", "--prune", "0", "1", "1", "2"],
    "order3-limited": ["-o", "3", "--limit_vocab_file", str(HERE / "vocabulary.txt")],
    "order3-fallback": ["-o", "3", "--discount_fallback"],
}
TEXT_OF = {"order3-fallback": "short.txt"}

PEOPLE = (
    "anna tom the#captain nobody my#aunt the#old#baker marie zoë two#sailors bjørn the#tailor "
    "our#cousin johanna an#owl the#postman emil a#stranger his#sister the#miller ida"
).split()
VERBS = "sees hears paints forgets follows mends weighs greets borrows hides sells counts".split()
THINGS = (
    "boat lamp clock river letter kettle window dog bridge map ladder apple violin fence candle "
    "mirror anchor basket saddle hammer pebble ribbon compass teapot lantern chimney needle barrel"
).split()
KINDS = "small red quiet old broken wooden heavy green polished hollow".split()
PLACES = "by#the#harbour at#night in#the#rain before#noon on#the#hill under#snow upstairs".split()


def sentence(rng: random.Random) -> str:
    def pick(words: list[str]) -> str:
        # As of Zipf: half as probable at twice the rank.
        return words[int((len(words) + 1) ** rng.random()) - 1]

    words = [pick(PEOPLE), pick(VERBS), rng.choice(["the", "a", "the"])]
    if rng.random() < 0.5:
        words.append(pick(KINDS))
    words.append(pick(THINGS))
    if rng.random() < 0.4:
        words.append(pick(PLACES))
    if rng.random() < 0.15:
        words.append("and " + sentence(rng))
    if rng.random() < 0.04:
        words.insert(0, rng.choice("well so perhaps".split()))
    return " ".join(words).replace("#", " ")


def main(lmplz: str, query: str) -> None:
    rng = random.Random(1)
    # The word that comes last is counted otherwise by lmplz; said twice it shows.
    text = [sentence(rng) for _ in range(240)] + ["ida hears a comet", "ida hears a comet at night"]
    heldout = [sentence(rng) for _ in range(20)] + ["anna sees the zeppelin", "bjørn"]
    (HERE / "text.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
    (HERE / "short.txt").write_text("\n".join(text[:6]) + "\n", encoding="utf-8")
    (HERE / "heldout.txt").write_text("\n".join(heldout) + "\n", encoding="utf-8")
    vocabulary = sorted({word for line in text[:12] for word in line.split()} | {"unheard"})
    (HERE / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    for name, options in MODELS.items():
        source = HERE / TEXT_OF.get(name, "text.txt")
        command = [lmplz, "-S", "100M", *options, "--text", source]
        arpa = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        (HERE / f"{name}.arpa.gz").write_bytes(gzip.compress(arpa, mtime=0))
    arpa_path = HERE / "order3.arpa.gz"
    with open(HERE / "heldout.txt", "rb") as stream:
        said = subprocess.run(
            [query, "-v", "summary", arpa_path], stdin=stream, capture_output=True, check=True
        ).stdout
    (HERE / "order3.query.txt").write_bytes(said)


if __name__ == "__main__":
    main(*sys.argv[1:])
