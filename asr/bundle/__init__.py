"""The model on disk: a folder with all that turns audio into text, and nothing executable."""

from asr.bundle.contents import FORMAT_VERSION, Bundle
from asr.bundle.load import load_bundle
from asr.bundle.save import save_bundle

__all__ = ["FORMAT_VERSION", "Bundle", "load_bundle", "save_bundle"]
