"""Pronunciations that espeak-ng's American English has for words that no lexicon knows."""

from __future__ import annotations

import ctypes
import re
import unicodedata
from collections.abc import Sequence

from asr.types import AsrError
from recipes.common.espeak import CHARS_UTF8, espeak

__all__ = ["ARPABET", "pronounce"]

# The 39 phones of the CMU dictionary.
ARPABET = frozenset(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W "
    "Y Z ZH".split()
)
VOICE = b"en-us"
IPA, SEPARATOR = 0x02, "_"
STRESS = {"ˈ": "1", "ˌ": "2"}
LETTERS = re.compile(r"[\w'’-]+")

# espeak-ng's phonemes of the voice en-us in IPA; on the right, the phones that the CMU dictionary
# has in their place most often in the words that both know.
TABLE = """
p P, b B, t T, d D, k K, ɡ G, tʃ CH, dʒ JH, f F, v V, θ TH, ð DH, s S, z Z, ʃ SH, ʒ ZH, h HH, m M, n N, ŋ NG,
ɹ R, r R, l L, w W, j Y, ɾ T, ʔ T, x K, ɬ L, n̩ AH N, əl AH L,
iː IY, i IY, ɪ IH, ᵻ IH, ɛ EH, æ AE, ə AH, ɐ AH, ʌ AH, ɑː AA, ɔ AO, ɔː AO, ʊ UH, uː UW, o OW, ɚ ER, ɜː ER,
eɪ EY, aɪ AY, ɔɪ OY, oʊ OW, aʊ AW, iə IY AH, aɪə AY AH, aɪɚ AY ER, ɑ̃ AA N, ɔ̃ AO N,
ɑːɹ AA R, ɔːɹ AO R, ʊɹ UH R, ɛɹ EH R, ɪɹ IH R
"""  # noqa: E501
PHONES = {
    ipa: phones.split() for ipa, _, phones in (e.strip().partition(" ") for e in TABLE.split(","))
}
VOWELS = frozenset("AEIOU")


def pronounce(words: Sequence[str]) -> list[list[str]]:
    """The ARPAbet phones of each word, vowels with the stress 0, 1 or 2; none without an answer.

    Words of other than Latin letters have none.

    Raises:
        AsrError: espeak-ng does not start.
    """
    with espeak() as loaded:
        library = loaded.library
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        if library.espeak_SetVoiceByName(VOICE) != 0:
            raise AsrError("espeak-ng has no American voice", remedy="reinstall espeakng-loader")
        return [_phones(_ipa(library, word)) if _is_latin(word) else [] for word in words]


def _is_latin(word: str) -> bool:
    letters = [c for c in word if c.isalpha()]
    latin = all(unicodedata.name(c, "").startswith("LATIN") for c in letters)
    return bool(letters) and latin and LETTERS.fullmatch(word) is not None


def _ipa(library: ctypes.CDLL, word: str) -> list[str]:
    """The phonemes, with marks of stress before vowels."""
    text = ctypes.create_string_buffer(word.lower().encode())
    left = ctypes.c_void_p(ctypes.addressof(text))
    mode = IPA | ord(SEPARATOR) << 8
    found = []
    while left.value:  # a clause at a time
        clause = library.espeak_TextToPhonemes(ctypes.byref(left), CHARS_UTF8, mode)
        found += (clause or b"").decode().replace(" ", SEPARATOR).split(SEPARATOR)
    return [phoneme for phoneme in found if phoneme]


def _phones(phonemes: Sequence[str]) -> list[str]:
    """None where a phoneme is unknown, as that of another language may be."""
    found: list[str] = []
    for phoneme in phonemes:
        marks = [mark for mark in phoneme if mark in STRESS]
        plain = phoneme.strip("ˈˌ").replace("ʲ", "").replace("ːː", "ː")
        if plain not in PHONES:
            return []
        stress = STRESS[marks[0]] if marks else "0"
        for phone in PHONES[plain]:
            vowel = phone[0] in VOWELS
            found.append(phone + stress if vowel else phone)
            stress = "0" if vowel else stress
    return found
