"""The starter CLIP's vocabulary: byte-pair merges learned from the world's own words.

OpenAI's 49,408 tokens would outweigh every other parameter here; these few hundred make each word of the
starter world one token and spell everything else in bytes (Sennrich et al. 2016).
"""

from __future__ import annotations

import gzip
from collections import Counter
from itertools import pairwise
from pathlib import Path

from .world import vocabulary

MERGES = Path(__file__).parent / "merges.txt.gz"


def learn_merges(words: frozenset[str]) -> list[tuple[str, str]]:
    """Merge the commonest neighbours, ties in alphabetical order, until every word is one symbol."""
    spelled = [(*word[:-1], word[-1] + "</w>") for word in sorted(words)]
    merges = []
    while pairs := Counter(pair for symbols in spelled for pair in pairwise(symbols)):
        best = max(sorted(pairs), key=pairs.__getitem__)
        merges.append(best)
        spelled = [_merged(symbols, best) for symbols in spelled]
    return merges


def _merged(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)


def write_merges(path: Path = MERGES) -> int:
    """Write the merges as open_clip's tokenizer reads them; returns the size of the vocabulary."""
    merges = learn_merges(vocabulary())
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return 2 * 256 + len(merges) + 2  # bytes, bytes that end a word, merges, start and end of text
