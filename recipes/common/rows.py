"""Rows of manifests that other programs wrote: whether each value is of its type."""

from __future__ import annotations

from collections.abc import Callable

from lhotse.cut import MonoCut, MultiCut

__all__ = ["wrong_type"]


def wrong_type(cut: MonoCut | MultiCut) -> str | None:
    """Which field is not of its type, in words, or None: lhotse takes whatever a row's JSON has."""
    fields: dict[str, tuple[object, Callable[[object], bool]]] = {
        "id": (cut.id, _is_text),
        "start": (cut.start, _is_number),
        "duration": (cut.duration, _is_number),
        "channel": (cut.channel, _are_channels),
    }
    for told in cut.supervisions:
        fields |= {
            "supervision's id": (told.id, _is_text),
            "text": (told.text, _is_text_or_none),
            "speaker": (told.speaker, _is_text_or_none),
        }
    if cut.has_recording:
        rate = cut.recording.sampling_rate
        fields["recording's sampling_rate"] = (rate, lambda value: type(value) is int and value > 0)
        for source in cut.recording.sources:
            fields |= {
                "source's type": (source.type, _is_text),
                "source's channels": (source.channels, _is_list_of_channels),
                "source": (source.source, lambda value: isinstance(value, str | bytes)),
            }
    wrong = ((name, value) for name, (value, fits) in fields.items() if not fits(value))
    return next((f"the {name} is {value!r}" for name, value in wrong), None)


def _is_text(value: object) -> bool:
    """Whether it is a text that can be written: JSON has halves of characters as well."""
    return isinstance(value, str) and not any("\ud800" <= part <= "\udfff" for part in value)


def _is_text_or_none(value: object) -> bool:
    return value is None or _is_text(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_channels(value: object) -> bool:
    """Whether they are a number from 0, or several."""
    several = value if isinstance(value, list | tuple) else [value]
    return bool(several) and all(type(each) is int and each >= 0 for each in several)


def _is_list_of_channels(value: object) -> bool:
    return isinstance(value, list | tuple) and _are_channels(value)
