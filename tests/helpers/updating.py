"""A catalog that is brought up to date with a folder of photos."""

from pathlib import Path

from babelclip.catalog.catalog import Catalog
from babelclip.indexing.indexer import bring_up_to_date
from babelclip.indexing.report import IndexReport
from babelclip.models.model import Model

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt><rdf:li>TITLE</rdf:li></rdf:Alt>
</dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"""


def opened(path: Path, model: Model) -> Catalog:
    return Catalog(path, model_name=model.name, fingerprint=model.fingerprint, dimension=model.dimension)


class Update:
    """Brings the catalog up to date with the folder of photos."""

    def __init__(self, catalog: Catalog, model: Model, photos: Path) -> None:
        self.catalog, self.model, self.photos = catalog, model, photos

    def __call__(self, root: Path | None = None, *, every: float = 5.0) -> IndexReport:
        return bring_up_to_date(self.catalog, self.model, root or self.photos, every_seconds=every)

    def names(self) -> list[str]:
        return [path.removeprefix(f"{self.photos}/") for path in self.catalog.vectors.all()[0]]


def captions(catalog: Catalog) -> dict[str, str | None]:
    query = "SELECT path, caption FROM photos JOIN contents ON contents.id = content"
    return {Path(path).name: caption for path, caption in catalog.connection.rows(query)}
