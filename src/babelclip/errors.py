"""The error tree. Every error that babelclip raises on purpose is one of these.

    BabelclipError
    ├── InputError                   a value the caller gave cannot be used
    │   ├── ImageError               a picture cannot be used; the message names it
    │   │   └── ImageTooLargeError   it is over the limit of bytes or pixels
    │   ├── ArchiveError             an archive, or a member of one, is damaged
    │   └── DataError                an evaluation file does not have the form it must have
    ├── ModelError                   a model cannot be used
    │   ├── ModelNotFoundError       no such name or folder
    │   ├── LayoutError              the folder is not in a form that is known
    │   ├── WeightsError             a weights file is damaged or lacks a tensor
    │   │   └── UnsafeWeightsError   a pickle asks for something that is not a tensor
    │   └── DownloadError            the hub cannot be reached, or sent the wrong bytes
    ├── MissingDependencyError       an optional package is not installed; says how to get it
    ├── CatalogError                 an index file, or a folder of vectors, cannot be used
    │   └── ModelMismatchError       it was made by another model
    ├── ClusterError                 the machines of a bulk run cannot be used, or cannot go on
    └── ServiceError                 the service cannot do what it should
        ├── StoreError               the database of keys and ledger, or the store of rate limits, cannot be used
        └── BusyError                there is more to do than can be taken on; says when to try again

A message names the bad value, the limit and the way out.
"""


class BabelclipError(Exception):
    """The root: catch this to catch everything that babelclip raises on purpose."""


class InputError(BabelclipError):
    """A value the caller gave cannot be used."""


class ImageError(InputError):
    """A picture cannot be used; the message names it."""


class ImageTooLargeError(ImageError):
    """A picture is over the limit of bytes or pixels."""


class ArchiveError(InputError):
    """An archive, or a member of one, is damaged: reading it again gives no more."""


class DataError(InputError):
    """An evaluation file does not have the form it must have."""


class ModelError(BabelclipError):
    """A model cannot be used."""


class ModelNotFoundError(ModelError):
    """No model has that name, and no folder is there."""


class LayoutError(ModelError):
    """A model folder is not in a form that is known."""


class WeightsError(ModelError):
    """A weights file is damaged or lacks a tensor."""


class UnsafeWeightsError(WeightsError):
    """A pickled weights file asks for something that is not a tensor; nothing of it was run."""


class DownloadError(ModelError):
    """The hub cannot be reached, or sent bytes that do not match their checksum."""


class MissingDependencyError(BabelclipError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        """Name the package that is missing and the command that installs it.

        :param package: what could not be imported
        :param extra: the extra of babelclip that brings it
        """
        super().__init__(f"{package} is not installed. Install it with: pip install 'babelclip[{extra}]'")


class CatalogError(BabelclipError):
    """An index file, or a folder of vectors, cannot be used."""


class ModelMismatchError(CatalogError):
    """An index was made by another model, so its vectors cannot be compared with this one's."""


class ClusterError(BabelclipError):
    """The machines of a bulk run cannot be used, or cannot go on."""


class ServiceError(BabelclipError):
    """The service cannot do what it should."""


class StoreError(ServiceError):
    """The database of keys and ledger, or the store of rate limits, cannot be used."""


class BusyError(ServiceError):
    """There is more to do than can be taken on."""

    def __init__(self, message: str, retry_seconds: int) -> None:
        """Say what is too much, and when to try again.

        :param message: what is too much
        :param retry_seconds: when there may be room
        """
        super().__init__(message)
        self.retry_seconds = retry_seconds
