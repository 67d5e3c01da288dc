"""Optional dependencies: name the extra of babelclip that brings a package which is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from babelclip.errors import MissingDependencyError

PACKAGES = {
    "attr": "attrs",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
}
"""Module -> the package that brings it, where the names differ."""


@contextmanager
def importing(extra: str) -> Iterator[None]:
    """Import the packages of an extra inside this context, at the top of a module or in the function that needs them.

    :param extra: the extra of babelclip that brings them
    :yield: nothing
    :raises MissingDependencyError: if one of them is not installed
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in ("", "babelclip"):
            raise
        raise MissingDependencyError(PACKAGES.get(name, name), extra=extra) from None


def require(extra: str, *modules: str) -> None:
    """Check that modules are installed, without importing them.

    :param extra: the extra of babelclip that brings them
    :param *modules: names of top-level modules
    :raises MissingDependencyError: if one of them is not installed
    """
    for name in modules:
        if find_spec(name) is None:
            raise MissingDependencyError(PACKAGES.get(name, name), extra=extra)
