"""babelclip: text in 50+ languages and images in one vector space."""

from typing import TYPE_CHECKING, Any

from babelclip.version import __version__

if TYPE_CHECKING:
    from babelclip.errors import BabelclipError
    from babelclip.models.model import Model
    from babelclip.search.hits import Hit
    from babelclip.search.index import Index
    from babelclip.zeroshot import Classifier, Prediction, classify

__all__ = ["BabelclipError", "Classifier", "Hit", "Index", "Model", "Prediction", "__version__", "classify"]

_HOMES = {
    "BabelclipError": "babelclip.errors",
    "Classifier": "babelclip.zeroshot",
    "Hit": "babelclip.search.hits",
    "Index": "babelclip.search.index",
    "Model": "babelclip.models.model",
    "Prediction": "babelclip.zeroshot",
    "classify": "babelclip.zeroshot",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import babelclip`` itself costs nothing."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'babelclip' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return __all__
