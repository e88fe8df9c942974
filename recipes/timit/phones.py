"""TIMIT's 61 phones, folded to 48 for training and 39 for scoring.

Lee & Hon, "Speaker-independent phone recognition using hidden Markov models" (1989), as tabulated
in Kaldi's recipe for TIMIT. The glottal stop q is left out of the 48 and the 39.
"""

from __future__ import annotations

from collections.abc import Iterable

from asr.types import CorpusError

__all__ = ["PHONES", "PHONES39", "PHONES48", "PHONES61", "fold", "fold39", "fold48", "labels_of"]

ITSELF = (
    "aa ae ah ao aw ax ay b ch d dh dx eh el en epi er ey f g hh ih ix iy jh k l m n ng ow oy p r "
    "s sh t th uh uw v w y z zh"
)
TO_48 = {phone: phone for phone in ITSELF.split()} | {
    "ax-h": "ax",
    "axr": "er",
    "bcl": "vcl",
    "dcl": "vcl",
    "gcl": "vcl",
    "kcl": "cl",
    "pcl": "cl",
    "tcl": "cl",
    "em": "m",
    "eng": "ng",
    "h#": "sil",
    "hv": "hh",
    "nx": "n",
    "pau": "sil",
    "ux": "uw",
}
LEFT_OUT = "q"
TO_39 = {
    "ao": "aa",
    "ax": "ah",
    "cl": "sil",
    "el": "l",
    "en": "n",
    "epi": "sil",
    "ix": "ih",
    "vcl": "sil",
    "zh": "sh",
}

PHONES61 = tuple(sorted([*TO_48, LEFT_OUT]))
PHONES48 = tuple(sorted(set(TO_48.values())))
PHONES39 = tuple(sorted({TO_39.get(phone, phone) for phone in PHONES48}))
PHONES = {len(phones): phones for phones in (PHONES61, PHONES48, PHONES39)}


def fold(phones: Iterable[str], labels: int) -> list[str]:
    """Fold phones of the 61 or of a smaller set to ``labels`` of them: 61, 48 or 39.

    Raises:
        CorpusError: a name is none of TIMIT's, or is of a smaller set than that asked for.
    """
    known = set(PHONES[labels])
    folded = []
    for phone in phones:
        name = phone if labels == 61 else TO_48.get(phone, phone)
        name = TO_39.get(name, name) if labels == 39 else name
        if name in known:
            folded.append(name)
        elif name != LEFT_OUT:
            smaller = phone in PHONES48 or phone in PHONES39
            what = f"one of TIMIT's {labels} phones" if smaller else "a phone of TIMIT"
            remedy = "use data and a model of more labels" if smaller else "restore the file"
            raise CorpusError(f"{phone!r} is not {what}", remedy=remedy)
    return folded


def labels_of(tokens: Iterable[str]) -> int:
    """The smallest of the sets, 39, 48 or 61, that has all of ``tokens`` but what none has."""
    names = set(tokens) & {*PHONES61, *PHONES48}
    return min((n for n, phones in PHONES.items() if names <= set(phones)), default=61)


def fold48(phones: Iterable[str]) -> list[str]:
    """Fold phones of the 61 to 48; q falls out.

    Raises:
        CorpusError: a name is not one of TIMIT's phones.
    """
    return fold(phones, 48)


def fold39(phones: Iterable[str]) -> list[str]:
    """Fold phones of the 61 or the 48 to 39; q falls out.

    Raises:
        CorpusError: a name is not one of TIMIT's phones.
    """
    return fold(phones, 39)
