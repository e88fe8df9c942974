"""One way of writing a text, whatever corpus it is from."""

from __future__ import annotations

import unicodedata

__all__ = ["invisible", "normalise"]

# Format characters that are drawn: Arabic and Kaithi number signs and marks.
DRAWN = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
SELECTORS = range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)  # variants of the character before
JOINER = "\u034f"  # combining grapheme joiner


def normalise(text: str) -> str:
    """Return ``text`` in Unicode's form NFC, with one space between words and none at the ends.

    Every kind of white space counts as a space. Characters that nobody sees or says (zero-width
    spaces and joiners, byte-order marks, soft hyphens, marks of direction, control characters) are
    dropped.

    >>> normalise(" caf\u0065\u0301\u00a0\t au\u200b lait")
    'caf\u00e9 au lait'
    """
    seen = "".join(character for character in text if not _is_invisible(character))
    return " ".join(unicodedata.normalize("NFC", seen).split())


def invisible(text: str) -> str:
    """Return the characters of ``text`` that :func:`normalise` drops, spaces not counted."""
    return "".join(filter(_is_invisible, text))


def _is_invisible(character: str) -> bool:
    if character.isascii() and character.isprintable():
        return False  # nearly always
    if character.isspace():
        return False
    kind = unicodedata.category(character)
    return (
        (kind in ("Cc", "Cf") and character not in DRAWN)
        or character == JOINER
        or any(ord(character) in span for span in SELECTORS)
    )
