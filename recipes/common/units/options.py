"""Which units ``prepare`` makes of the texts."""

from __future__ import annotations

from dataclasses import dataclass

from asr.types import ConfigError

__all__ = ["CMUDICT", "ESPEAK", "KINDS", "OF_LEXICONS", "UnitOptions"]

KINDS = ("characters", "phones", "subwords")
CMUDICT, ESPEAK, NONE = "cmudict", "espeak", "none"
OF_LEXICONS = "lexicons"  # in the place of a file of words: those of the lexicons' files


@dataclass(frozen=True)
class UnitOptions:
    """The units, and what they are made with.

    Attributes:
        kind: ``"characters"``, ``"phones"`` or ``"subwords"``.
        vocab_size: of subwords, how many tokens there are with the blank.
        lexicons: of phones, files of pronunciations, or ``"cmudict"``; the first that has a word
            says how it is pronounced.
        g2p: what pronounces other words: ``"espeak"``, ``"none"``, or None for espeak-ng where
            cmudict is among the lexicons.
        stress: ``"drop"``, or ``"keep"`` to tell AH0 from AH1.
        words: a file of further words for the lexicon that is written, one a line; or
            ``"lexicons"`` for all words of the files among ``lexicons``.
    """

    kind: str = "characters"
    vocab_size: int = 500
    lexicons: tuple[str, ...] = ()
    g2p: str | None = None
    stress: str = "drop"
    words: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"units is {self.kind!r}", remedy=f"choose {', '.join(KINDS)}")
        if self.kind == "phones" and not self.lexicons:
            raise ConfigError(
                "phones need a pronunciation lexicon", remedy="give --lexicon cmudict, or a file"
            )
        if self.kind != "phones" and (self.lexicons or self.g2p or self.words):
            raise ConfigError(
                "--lexicon, --g2p and --words are of phones", remedy="add --units phones"
            )
        if not 3 <= self.vocab_size <= 100_000:
            raise ConfigError(f"vocab_size is {self.vocab_size}", remedy="give 3 to 100000")
        if self.g2p not in (ESPEAK, NONE, None):
            raise ConfigError(f"g2p is {self.g2p!r}", remedy=f"choose {ESPEAK} or {NONE}")
        if self.stress not in ("drop", "keep"):
            raise ConfigError(f"stress is {self.stress!r}", remedy="choose drop or keep")

    @property
    def guesses(self) -> bool:
        """Whether espeak-ng pronounces the words that no lexicon has."""
        return self.g2p == ESPEAK or (self.g2p is None and CMUDICT in self.lexicons)
