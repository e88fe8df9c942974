"""Numbers in words, by the package num2words (extra ``numbers``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from asr.extras import import_extra
from asr.types import ConfigError

__all__ = ["check_language", "spell_numbers"]

# Languages that write 1,234.5; the others write 1.234,5 or 1 234,5.
POINT = ("am", "bn", "en", "fa", "he", "ja", "kn", "ko", "te", "th")
DIGITS_AT_MOST = 15  # of a number; longer ones are read digit by digit, as are 007 and the like
# Numbers that num2words does not know to say in a language.
UNSPEAKABLE = (NotImplementedError, ArithmeticError, LookupError, TypeError, ValueError)
PATTERN = (
    r"(?<![^\W_])(?P<sign>[-\u2212])?(?P<whole>\d{{1,3}}(?:[{groups}]\d{{3}})+|\d+)"
    r"(?:[{mark}](?P<part>\d+))?(?P<ordinal>{ordinals})(?![^\W_])"
)


def check_language(language: str) -> None:
    """Raise unless numbers can be spelled in ``language``.

    Raises:
        MissingPackageError: num2words is not installed.
        ConfigError: it does not know the language.
    """
    known = _package().CONVERTER_CLASSES
    if language not in known:
        raise ConfigError(
            f"num2words knows no language {language!r}", remedy=f"choose {', '.join(sorted(known))}"
        )


def spell_numbers(text: str, language: str) -> str:
    """``text`` with its numbers in words of ``language``, a code of num2words such as ``en``.

    Whole numbers, decimals, numbers in groups of three digits, and English ordinals are spelled. A
    number in which letters stand, or that cannot be said, is left as it is. A year is read as a
    number.

    >>> spell_numbers("the 2nd of 1,250 at 3.5", "en")
    'the second of one thousand two hundred and fifty at three point five'
    """
    if not re.search(r"\d", text):
        return text
    check_language(language)
    point = language.partition("_")[0] in POINT
    pattern = PATTERN.format(
        groups="," if point else r".\u0020",
        mark="." if point else ",",
        ordinals="(?:st|nd|rd|th)?" if language.startswith("en") else "",
    )
    return re.sub(pattern, partial(_spelled, say=_sayer(language)), text, flags=re.IGNORECASE)


def _package() -> Any:
    return import_extra("num2words", "numbers", "numbers in words")


def _sayer(language: str) -> Callable[..., str]:
    say = _package().num2words
    return lambda number, **how: str(say(number, lang=language, **how))


def _spelled(found: re.Match[str], say: Callable[..., str]) -> str:
    digits = "".join(str(int(c)) for c in found["whole"] if c.isdigit())
    try:
        if len(digits) > DIGITS_AT_MOST or (digits[0] == "0" and len(digits) > 1):
            words = " ".join(say(int(digit)) for digit in digits)
        elif found["part"]:
            words = say(Decimal(f"{digits}.{''.join(str(int(c)) for c in found['part'])}"))
        elif found["ordinal"]:
            words = say(int(digits), to="ordinal")
        else:
            words = say(-int(digits) if found["sign"] else int(digits))
    except UNSPEAKABLE:
        return found[0]
    # Hyphens and commas of the spelling are no part of what is said.
    sign = found["sign"] if found["sign"] and found["part"] else ""
    return sign + " ".join(words.replace("-", " ").replace(",", " ").split())
