"""Scores over features and class probabilities, by their published formulas.

With a classifier of clouds (classifiers.py) these are P-FID and P-IS of the Point-E paper (arXiv:2212.08751).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def frechet_distance(a: Array, b: Array) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features (Heusel et al. 2017).

    Parameters
    ----------
    a, b
        (N, D) and (M, D) features; N and M should well exceed D.

    Returns
    -------
    float
        At least 0, and the lower the better; 0 for equal mean and covariance. In the features' unit, squared.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    difference = a.mean(axis=0) - b.mean(axis=0)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of (AB)^½ is that of (A^½ B A^½)^½, which is symmetric and keeps its roots real.
    root = _root(cov_a)
    overlap = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap)


def inception_score(probabilities: Array, split: int = 5000) -> float:
    """How sure and how varied a classifier is of a set of samples (Salimans et al. 2016).

    Parameters
    ----------
    probabilities
        (N, K), each row adding up to 1.
    split
        Samples are scored in runs of this length, and the scores averaged.

    Returns
    -------
    float
        From 1 to K, and the higher the better.
    """
    scores = []
    for begin in range(0, len(probabilities), split):
        part = np.asarray(probabilities[begin : begin + split], dtype=np.float64)
        ratio = np.divide(part, part.mean(axis=0), out=np.ones_like(part), where=part > 0)  # 0 log 0 is 0
        scores.append(np.exp((part * np.log(ratio)).sum(axis=1).mean()))
    return float(np.mean(scores))


def _root(symmetric: Array) -> Array:
    """The square root of a covariance."""
    values, vectors = np.linalg.eigh(symmetric)
    root: Array = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root
