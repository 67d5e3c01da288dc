"""Zero-shot classification by labels given as text, in any language (Radford et al. 2021)."""

from babelclip.zeroshot.classifier import Classifier, classify
from babelclip.zeroshot.labels import Label, read_labels
from babelclip.zeroshot.prediction import Prediction, Ranked

__all__ = ["Classifier", "Label", "Prediction", "Ranked", "classify", "read_labels"]
