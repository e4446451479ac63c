"""CLIP R-Precision: whether pictures of what was made tell its prompt from the others.

Park et al. 2021, "Benchmark for Compositional Text-to-Image Synthesis" (NeurIPS Datasets and Benchmarks),
with R = 1; on renders of objects Jain et al. 2022, "Dream Fields" (arXiv:2112.01455), and the Point-E paper
(arXiv:2212.08751).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SAME = 1 - 1e-6  # cosine above which two texts are one, whose vectors differ by float32's rounding at most


def r_precision(pictures: Tensor, texts: Tensor, own: Tensor) -> Tensor:
    """Share of an object's pictures that are nearer to its own prompt than to every other one.

    Near is a high cosine. Prompts with the same vector are one; a tie with another prompt is wrong. The
    published figures are the mean over the objects, times 100. They depend on the CLIP that judges, on the
    number of prompts to choose from (chance is 1 / M) and on the renders.

    Parameters
    ----------
    pictures
        (N, V, D): CLIP vectors of V renders of each of N objects, of any length.
    texts
        (M, D): CLIP vectors of all prompts, those of no object among them where they are part of the choice.
    own
        (N,) int64: which of the texts each object was made from.

    Returns
    -------
    Tensor
        (N,) float32, from 0 to 1, and the higher the better.
    """
    pictures, texts = F.normalize(pictures, dim=-1), F.normalize(texts, dim=-1)
    cosines = pictures @ texts.T  # (N, V, M)
    is_own = (texts @ texts.T > SAME)[own][:, None]  # (N, 1, M)
    nearest_other = cosines.masked_fill(is_own, -torch.inf).amax(-1)
    right = cosines.masked_fill(~is_own, -torch.inf).amax(-1) > nearest_other
    return right.float().mean(1)
