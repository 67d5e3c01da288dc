"""Opening a store by its name."""

from pathlib import Path

from babelclip.errors import InputError
from babelclip.stores.base import MILVUS, ModelIdentity, Store


def open_store(name: str | Path, model: ModelIdentity, *, create: bool = True) -> Store:
    """Open a store by its name.

    :param name: an index file; or milvus://HOST:PORT/COLLECTION, or milvus:///PATH/FILE.db for Milvus Lite
    :param model: the model of its vectors
    :param create: create what is not there; else that is an error
    :return: the store
    :raises InputError: if the name cannot be parsed, or nothing is there and ``create`` is False
    :raises CatalogError: if it cannot be opened
    :raises ModelMismatchError: if another model made it
    """
    if str(name).startswith(MILVUS):
        from babelclip.stores.milvus import MilvusStore

        return MilvusStore(str(name), model, create=create)
    # FAISS and the catalog are loaded when an index file is opened, not by those who only name a store.
    from babelclip.catalog.catalog import Catalog
    from babelclip.stores.sqlite import SqliteStore

    file = Path(name).expanduser()
    if not create and not file.is_file():
        raise InputError(f"there is no index at {file}; make one with: babelclip index FOLDER")
    catalog = Catalog(file, model_name=model.name, fingerprint=model.fingerprint, dimension=model.dimension)
    return SqliteStore(catalog, model.dimension)
