"""Weights -> one ONNX graph a tower.

``build_text_graph`` takes int64 ``ids`` and ``mask`` (n, length); ``build_image_graph`` takes uint8 ``pixels``
(n, height, width, 3). Both give float32 ``vectors`` (n, dimension): everything from the token ids or the bytes of the
pixels to the vector is inside, so that every runtime and every export does the same.
"""

from babelclip.graphs.image_tower import build_image_graph
from babelclip.graphs.text_tower import build_text_graph

__all__ = ["build_image_graph", "build_text_graph"]
