"""Tests of the loss terms and initial values of the heads."""

import numpy as np
import torch

from babelclip.training.heads import ClassifierHead, ClassNameRows, HeadConfig, class_vectors


def test_synthetic_features_have_a_high_logit_of_their_class() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((6, 16)).astype(np.float32), rng.standard_normal(6).astype(np.float32)
    features = torch.from_numpy(np.abs(rng.standard_normal((500, 22))).astype(np.float32))
    head = ClassifierHead(np.eye(6, 5, dtype=np.float32), weight, bias, features.numpy(), HeadConfig())
    synthetic = head.synthesize(features, rng)
    assert synthetic.shape == features.shape
    channels, logits = synthetic[:, :16].numpy(), synthetic[:, 16:].numpy()
    assert np.allclose(logits, channels @ weight.T + bias, atol=1e-4)
    assert channels.min() >= 0
    assert np.bincount(logits.argmax(axis=1), minlength=6).min() > 30
    assert head.probabilities(synthetic).max(dim=1).values.mean() > 0.8


def test_a_class_vector_is_the_weighted_mean_of_source_and_other_languages() -> None:
    texts = np.eye(4, dtype=np.float32)
    names: ClassNameRows = {"en": {0: (0,), 1: (1,)}, "de": {0: (2, 3)}}
    vectors = class_vectors(texts, names, "en", others=2)
    difference = vectors[0] - vectors[1]
    assert np.allclose(difference, [1 / 3, -1, 1 / 3, 1 / 3], atol=1e-6)
    assert np.allclose(vectors.sum(axis=0), 0, atol=1e-6)
