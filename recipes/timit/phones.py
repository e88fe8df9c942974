"""TIMIT's 61 phones, folded to 48 for training and 39 for scoring.

Lee & Hon, "Speaker-independent phone recognition using hidden Markov models" (1989), as tabulated
in Kaldi's recipe for TIMIT. The glottal stop q is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from asr.types import CorpusError

__all__ = ["PHONES39", "PHONES48", "PHONES61", "fold39", "fold48"]

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


def fold48(phones: Iterable[str]) -> list[str]:
    """Fold phones of the 61 to 48; q falls out.

    Raises:
        CorpusError: a name is not one of TIMIT's phones.
    """
    folded = []
    for phone in phones:
        if phone == LEFT_OUT:
            continue
        if phone not in TO_48:
            raise CorpusError(f"{phone!r} is not a phone of TIMIT", remedy="restore the file")
        folded.append(TO_48[phone])
    return folded


def fold39(phones: Iterable[str]) -> list[str]:
    """Fold phones of the 48 to 39."""
    return [TO_39.get(phone, phone) for phone in phones]
