"""How texts are written before they are trained on: one form, chosen by options."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr.files.write import write_text
from asr.options import from_values
from asr.types import ConfigError, CorpusError
from recipes.common.numbers import check_language, spell_numbers
from recipes.common.texts import invisible, normalise

__all__ = ["TextOptions", "load_text_options", "save_text_options"]

CASES = ("kept", "upper", "lower")
PUNCTUATION = ("kept", "dropped")
QUOTES = ("kept", "unified")
FILE = "text.json"

APOSTROPHES = "\u2018\u2019\u201a\u201b\u2032\u2039\u203a\u02bc\uff07\u0060\u00b4"
QUOTATION_MARKS = "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\u301d\u301e\uff02"
UNIFIED = {
    **dict.fromkeys(map(ord, APOSTROPHES), "'"),
    **dict.fromkeys(map(ord, QUOTATION_MARKS), '"'),
}
# Between two letters these belong to the word: o'clock, col·legi, and Hebrew's geresh.
WITHIN_WORDS = "'\u2018\u2019\u2032\u00b7\u05f3\u05f4"
SAID = "%&@#\u00a7\u2030"  # Unicode calls them punctuation, but they stand for words


@dataclass(frozen=True)
class TextOptions:
    """What is done to every text, beside form NFC, single spaces and the loss of invisible
    characters.

    Attributes:
        case: ``"kept"``, ``"upper"`` or ``"lower"``.
        punctuation: ``"kept"`` or ``"dropped"``; apostrophes within words, and signs that stand for
            words, such as ``%``, stay.
        quotes: ``"kept"``, or ``"unified"``: every apostrophe becomes ``'``, every double quote
            ``"``.
        numbers: the language, a code of num2words, in whose words numbers are spelled; empty: they
            are kept.
    """

    case: str = "kept"
    punctuation: str = "kept"
    quotes: str = "kept"
    numbers: str = ""

    def __post_init__(self) -> None:
        for name, choices in (("case", CASES), ("punctuation", PUNCTUATION), ("quotes", QUOTES)):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}", remedy=f"choose {', '.join(choices)}"
                )
        if not isinstance(self.numbers, str):
            raise ConfigError(f"numbers is {self.numbers!r}", remedy="give a language, such as en")

    def check(self) -> None:
        """Raise unless what the options ask for is installed.

        Raises:
            MissingPackageError, ConfigError: see :func:`recipes.common.numbers.check_language`.
        """
        if self.numbers:
            check_language(self.numbers)

    def apply(self, text: str) -> str:
        """Return ``text`` in the form that the options describe; once more changes nothing."""
        if self == TextOptions():  # of manifests of any length, read again and again
            return normalise(text)
        return self.apply_and_tell(text)[0]

    def apply_and_tell(self, text: str) -> tuple[str, Counter[str]]:
        """What :meth:`apply` returns, and the characters that are dropped."""
        dropped = Counter(invisible(text))
        text = self._in_case(normalise(text))
        if self.quotes == "unified":
            text = text.translate(UNIFIED)
        if self.numbers:
            text = self._in_case(spell_numbers(text, self.numbers))
        if self.punctuation == "dropped":
            places = [i for i in range(len(text)) if _is_dropped(text, i)]
            dropped.update(text[i] for i in places)
            characters = list(text)
            for i in places:
                characters[i] = " "
            text = "".join(characters)
        return normalise(text), dropped

    def _in_case(self, text: str) -> str:
        return {"kept": text, "upper": text.upper(), "lower": text.lower()}[self.case]

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextOptions:
        """Inverse of :meth:`to_dict`.

        Raises:
            ConfigError: an unknown key or a value that cannot be.
        """
        return from_values(cls, values, "text options", ConfigError)


def _is_dropped(text: str, i: int) -> bool:
    """Whether the character there is punctuation; ` and the like are, $ and + are not."""
    character, before, after = text[i], text[max(i - 1, 0) : i], text[i + 1 : i + 2]
    kind = unicodedata.category(character)
    if character in SAID or not (kind.startswith("P") or kind == "Sk"):
        return False
    within_word = character in WITHIN_WORDS and _is_letter(before) and _is_letter(after)
    within_number = character in ".," and before.isdigit() and after.isdigit()
    return not (within_word or within_number)


def _is_letter(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "LMN"


def save_text_options(data: Path, options: TextOptions) -> None:
    """Keep ``options`` with the prepared data.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(data / FILE, json.dumps(options.to_dict()) + "\n")


def load_text_options(data: Path) -> TextOptions:
    """The options that ``data`` was prepared with; those of data from before there were any.

    Raises:
        CorpusError: the file is damaged.
    """
    path = data / FILE
    if not path.exists():
        return TextOptions()
    try:
        return TextOptions.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, ConfigError):
        raise CorpusError(
            "the options of texts are damaged", where=str(path), remedy="run `prepare` again"
        ) from None
