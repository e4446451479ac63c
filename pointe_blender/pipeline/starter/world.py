"""The starter world: kinds and colours, objects drawn from them, and captions in varied words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .kinds import KINDS, Color
from .solids import Objects, Solid, pack

COLORS: dict[str, Color] = {
    "red": (0.80, 0.08, 0.08),
    "orange": (0.95, 0.50, 0.06),
    "yellow": (0.95, 0.84, 0.12),
    "green": (0.13, 0.56, 0.18),
    "blue": (0.10, 0.26, 0.80),
    "purple": (0.48, 0.16, 0.66),
    "pink": (0.96, 0.52, 0.70),
    "brown": (0.42, 0.25, 0.12),
    "black": (0.06, 0.06, 0.07),
    "white": (0.93, 0.93, 0.93),
    "gray": (0.50, 0.50, 0.52),
}

SYNONYMS: dict[str, tuple[str, ...]] = {
    "chair": ("chair", "chair", "chair", "seat", "stool with a back"),
    "table": ("table", "table", "desk"),
    "sofa": ("sofa", "couch"),
    "lamp": ("lamp", "lamp", "table lamp", "floor lamp"),
    "mug": ("mug", "mug", "cup", "coffee cup", "coffee mug"),
    "bottle": ("bottle", "bottle", "flask"),
    "car": ("car", "car", "automobile", "vehicle"),
    "airplane": ("airplane", "plane", "airplane", "aeroplane", "aircraft", "jet"),
    "rocket": ("rocket", "rocket", "spaceship", "space rocket"),
    "tree": ("tree", "tree", "tree with a trunk"),
    "house": ("house", "house", "cottage", "home", "hut"),
    "mushroom": ("mushroom", "mushroom", "toadstool"),
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "purple": ("purple", "purple", "violet"),
    "gray": ("gray", "grey"),
    "green": ("green", "green", "green", "emerald"),
    "blue": ("blue", "blue", "blue", "navy"),
}

HEIGHTS: dict[str, tuple[float, tuple[str, ...]]] = {
    "low": (0.75, ("short", "low", "squat")),
    "usual": (1.0, ()),
    "tall": (1.35, ("tall", "high")),
}

ADJECTIVES = (
    "small",
    "big",
    "little",
    "large",
    "simple",
    "modern",
    "old",
    "new",
    "nice",
    "cute",
    "plain",
    "beautiful",
)
TEMPLATES = (
    "a {a} {c} {k}",
    "a {a} {c} {k}",
    "a {a} {c} {k}",
    "{a} {c} {k}",
    "the {a} {c} {k}",
    "{a} {k}, {c}",
    "a {a} {k} that is {c}",
    "a {a} {k} in {c}",
    "one {a} {c} {k}",
    "my {a} {c} {k}",
    "a picture of a {a} {c} {k}",
    "a photo of a {a} {c} {k}",
    "a 3d model of a {a} {c} {k}",
    "a render of a {a} {c} {k}",
    "a {a} {c} colored {k}",
    "low poly {a} {c} {k}",
)


@dataclass(frozen=True)
class Label:
    """What an object is: its kind, its main colour and how tall it is."""

    kind: str
    color: str
    height: str = "usual"


def held_out() -> frozenset[tuple[str, str]]:
    """The pairs of kind and colour that no training sees: one of each kind."""
    colors = list(COLORS)
    return frozenset((kind, colors[(3 * i + 1) % len(colors)]) for i, kind in enumerate(KINDS))


def draw_labels(count: int, r: Random, *, include_held_out: bool = False) -> list[Label]:
    """Labels in equal shares of every kind and colour, in random order."""
    pairs = [(k, c) for k in KINDS for c in COLORS if include_held_out or (k, c) not in held_out()]
    rounds = -(-count // len(pairs))
    chosen = [pair for _ in range(rounds) for pair in r.sample(pairs, len(pairs))][:count]
    return [Label(k, c, r.choice(("low", "usual", "usual", "tall"))) for k, c in chosen]


def build(label: Label, r: Random) -> list[Solid]:
    """One object of the label, with its proportions and exact shade drawn from `r`."""
    light = r.uniform(0.86, 1.08)
    shade = tuple(min(1.0, max(0.0, v * light + r.uniform(-0.03, 0.03))) for v in COLORS[label.color])
    height = HEIGHTS[label.height][0] * r.uniform(0.92, 1.08)
    return KINDS[label.kind](r, shade, height)  # type: ignore[arg-type]


def build_all(labels: Sequence[Label], r: Random) -> Objects:
    """Objects of all labels, not yet centred and scaled: see `solids.normalised`."""
    return pack([build(label, r) for label in labels])


def caption(label: Label, r: Random) -> str:
    """A description of the object in one of many wordings."""
    adjectives = [w for w in (r.choice(ADJECTIVES),) if r.random() < 0.3]
    heights = HEIGHTS[label.height][1]
    if heights and r.random() < 0.6:
        adjectives.append(r.choice(heights))
    kind = r.choice(SYNONYMS.get(label.kind, (label.kind,)))
    color = r.choice(SYNONYMS.get(label.color, (label.color,)))
    text = r.choice(TEMPLATES).format(a=" ".join(adjectives), c=color, k=kind)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"\ba (?=[aeio])", "an ", text)


def vocabulary() -> frozenset[str]:
    """Every word that a caption can contain."""
    phrases = [*TEMPLATES, *ADJECTIVES, *KINDS, *COLORS, *(s for group in SYNONYMS.values() for s in group)]
    phrases += [word for _, words in HEIGHTS.values() for word in words]
    text = re.sub(r"\{.\}", " ", " ".join(phrases))
    return frozenset(re.findall(r"[a-z0-9]+", text)) | {"an"}


def _names_in(prompt: str, names: Sequence[str]) -> set[str]:
    """Which of the names are spoken of; "table lamp" is a lamp and no table."""
    phrases = {phrase: name for name in names for phrase in (name, *SYNONYMS.get(name, ()))}
    found = set()
    for phrase in sorted(phrases, key=len, reverse=True):
        prompt, times = re.subn(rf"\b{phrase}s?\b", " ", prompt)
        if times:
            found.add(phrases[phrase])
    return found


def notice(prompt: str) -> str:
    """What to tell the user about a prompt outside this world; empty for a prompt inside it."""
    prompt = prompt.lower()
    kinds, colors = _names_in(prompt, list(KINDS)), _names_in(prompt, list(COLORS))
    unknown = sorted(set(re.findall(r"[a-z0-9]+", prompt)) - vocabulary() - {f"{k}s" for k in KINDS})
    if len(kinds) == 1 and len(colors) == 1 and not unknown:
        return ""
    known = f"The starter models know {', '.join(KINDS)} in {', '.join(COLORS)}"
    if not kinds:
        problem = "no kind of object that they know is named"
    elif len(kinds) > 1 or len(colors) > 1:
        problem = "they make one object of one main colour"
    elif not colors:
        problem = "no colour that they know is named"
    else:
        problem = f"they do not know {', '.join(repr(w) for w in unknown[:4])}"
    return (
        f"{known}; {problem}, so this is their nearest guess. Install the official models for anything else."
    )
