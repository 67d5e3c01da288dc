"""The confidence of hits in one index: the background statistics of each language, kept while nothing changes."""

from collections.abc import Sequence

from babelclip.models.model import Model
from babelclip.search import confidence
from babelclip.search.confidence import BackgroundStatistics, NearestPhotos
from babelclip.stores import Match, Store
from babelclip.vectors import FloatArray, cosines_of


class ConfidenceEstimator:
    """Estimates how likely photos show what a text describes."""

    def __init__(self, store: Store, model: Model) -> None:
        """Take a store and the model of its vectors.

        :param store: the store
        :param model: the model
        """
        self._store = store
        self._model = model
        self._statistics: dict[str, tuple[object, BackgroundStatistics | None]] = {}

    def background(self, language: str, state: object) -> BackgroundStatistics | None:
        """Measure the background vocabulary of a language in the collection, once for each state.

        :param language: a code, or ``confidence.ANY``
        :param state: of the store, as ``refresh`` returned it
        :return: the statistics; None in a collection that is too small
        """
        known = self._statistics.get(language)
        if known is None or known[0] != state:
            statistics = None
            if len(self._store) >= confidence.FEWEST_PHOTOS:
                words = confidence.vocabulary_vectors(self._model, language)
                _, photos = self._store.nearest(words, confidence.NEAREST)
                statistics = confidence.measure_background(words, NearestPhotos.of(words, photos, words))
            known = self._statistics[language] = (state, statistics)
        return known[1]

    def estimate(
        self,
        matches: Sequence[Match],
        text: FloatArray,
        background: BackgroundStatistics | None,
        nearest: Sequence[Match],
    ) -> FloatArray | None:
        """Estimate the confidence of matches.

        :param matches: n of them
        :param text: float32 (d,), the unit vector of the text
        :param background: of the text's language
        :param nearest: the nearest matches of the text in the whole collection; empty if they are not known
        :return: float32 (n,), in 0..1; None where nothing can be said
        """
        if background is None or not matches:
            return None
        photos = self._store.vectors_of([match.vector for match in matches])
        ids = list(dict.fromkeys(match.vector for match in nearest))[: confidence.NEAREST]
        if len(ids) == confidence.NEAREST:
            nearest_photos = self._store.vectors_of(ids)[None]
        else:
            nearest_photos = self._store.nearest(text[None], confidence.NEAREST)[1]
        compared = NearestPhotos.of(text[None], nearest_photos, background.words)
        cosines = cosines_of(text[None], photos)
        estimated: FloatArray = confidence.confidences(text[None], cosines, compared, background)[0]
        return estimated
