"""What the metrics look at, computed when the first of them asks, and kept for the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from ..pipeline import Mesh
from ..pipeline.sets import Doing
from . import collection, references, shapes
from .collection import Collection, File
from .console import watch
from .kept import Kept, Key, Values
from .references import JUDGE, STARTER
from .shapes import Shape
from .views import View, Views

if TYPE_CHECKING:
    from torch import Tensor

    from ..pipeline.conditioning import Clip
    from ..pipeline.metrics.classifiers import Classifier
    from ..pipeline.weights import Folders

NETWORKS = {"released": "pointnet", STARTER: JUDGE}  # of the classifiers
Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Settings:
    """What the figures depend on beside the objects.

    Attributes
    ----------
    reference
        A folder of real objects, or "starter" for those of the starter models' world.
    classifier
        Whose features P-FID and P-IS are of.
    models
        The set whose CLIP reads prompts and pictures.
    seed
        Of the draws of references and of equal numbers.
    device
        As in `Request`.
    """

    reference: Path | Literal["starter"] | None
    classifier: Literal["released", "starter"]
    models: str
    seed: int
    device: str


class Evidence:
    """Of every object in a folder.

    Parameters
    ----------
    found
        The objects.
    settings
        How they are looked at.
    views
        Their pictures.
    kept
        Takes whatever is computed of one object.
    folders
        Where weights lie and whether the network may be used.
    """

    def __init__(
        self, found: Collection, settings: Settings, views: Views, kept: Kept, folders: Folders
    ) -> None:
        self.found, self.settings, self.views = found, settings, views
        self._kept, self._folders = kept, folders
        self._within: dict[tuple[int, ...], Tensor] = {}

    # --- clouds against those of a reference -----------------------------------------------------------

    @cached_property
    def between(self) -> Tensor:
        """Chamfer distances (G, R) of the objects to the references."""
        return shapes.between(self._shapes, self._references, self._kept, self._device)

    def within(self, members: Sequence[int]) -> Tensor:
        """Chamfer distances of some objects to each other."""
        key = tuple(members)
        if key not in self._within:
            chosen = [self._shapes[i] for i in members]
            self._within[key] = shapes.within(chosen, self._kept, self._device)
        return self._within[key]

    @cached_property
    def within_references(self) -> Tensor:
        """Chamfer distances of the chosen references to each other."""
        chosen = [self._references[i] for i in self.chosen]
        return shapes.within(chosen, self._kept, self._device)

    @cached_property
    def count(self) -> int:
        """How many objects and references are compared where their numbers must be equal."""
        return min(len(self._references), *(len(members) for members in self.found.sets))

    @property
    def reference_count(self) -> int:
        """How many references there are."""
        return len(self._references)

    @cached_property
    def chosen(self) -> list[int]:
        """The references where their number must be that of the objects."""
        return self.drawn(range(len(self._references)))

    def drawn(self, members: Sequence[int]) -> list[int]:
        """Some of the indices, as many as there are on both sides."""
        if len(members) <= self.count:
            return list(members)
        draws = np.random.default_rng(self.settings.seed)
        return sorted(draws.choice(members, self.count, replace=False).tolist())

    # --- clouds in the eyes of a classifier ------------------------------------------------------------

    @cached_property
    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and class probabilities of the objects."""
        return self._seen(self._shapes)

    @cached_property
    def reference_features(self) -> np.ndarray:
        """Features of the references."""
        return self._seen(self._references)[0]

    def _seen(self, own: Sequence[Shape]) -> tuple[np.ndarray, np.ndarray]:
        from ..pipeline.models import CHECKPOINTS

        network = CHECKPOINTS[NETWORKS[self.settings.classifier]]
        name = f"{network.name} {network.sha256}"
        return shapes.features(own, name, lambda: self._classifier, self._kept)

    @cached_property
    def _classifier(self) -> Classifier:
        if self.settings.classifier == STARTER:
            from ..pipeline.starter import judge

            return judge.load(self._device, self._folders)
        from ..pipeline.metrics import classifiers

        self._fetch(NETWORKS["released"])
        return classifiers.released(self._device, self._folders)

    # --- meshes ----------------------------------------------------------------------------------------

    @cached_property
    def surfaces(self) -> dict[int, dict[str, float]]:
        """What `surfaces.describe` says of each object that has a mesh."""

        def look(_: int, mesh: File) -> Values:
            def make() -> Values:
                from ..pipeline.metrics.surfaces import describe

                thing = collection.load(mesh.path)
                assert isinstance(thing, Mesh)
                surface = describe(thing)
                fields = ("closed", "components", "self_intersections")
                return {field: np.array(float(getattr(surface, field))) for field in fields}

            return self._kept.made(("surface", mesh.digest), make)

        meshes = {i: sample.mesh for i, sample in enumerate(self.found.samples) if sample.mesh}
        described = self._each("looking at meshes", meshes, look)
        return {i: {name: float(value) for name, value in own.items()} for i, own in described.items()}

    # --- pictures --------------------------------------------------------------------------------------

    def seen(self, name: str) -> dict[int, tuple[View, ...]]:
        """What a metric looks at of each object; clouds are not lit, as they have no surface."""
        samples = list(enumerate(self.found.samples))
        if name == "psnr":
            return {
                i: (View(s.mesh, False), View(s.cloud, False, around=s.mesh))
                for i, s in samples
                if s.mesh and s.cloud
            }
        lit: dict[int, tuple[View, ...]]
        lit = {i: (View(s.mesh, True),) for i, s in samples if s.origin and s.mesh}
        return lit | {i: (View(s.cloud, False),) for i, s in samples if s.origin and not s.mesh and s.cloud}

    @cached_property
    def likeness(self) -> dict[int, float]:
        """PSNR in dB of the mesh's pictures to the cloud's, of each object that has both."""

        def compare(_: int, views: tuple[View, ...]) -> float:
            def make() -> Values:
                from ..pipeline.metrics.pictures import mean_psnr

                mesh, cloud = (np.stack(self.views.of(view)) for view in views)
                return {"psnr": np.array(mean_psnr(mesh, cloud))}

            key: Key = ("psnr", *self.views.settings, *(view.file.digest for view in views))
            return float(self._kept.made(key, make)["psnr"])

        return self._each("comparing pictures", self.seen("psnr"), compare)

    @cached_property
    def precision(self) -> dict[int, float]:
        """CLIP R-Precision of each object that has a prompt."""
        import torch

        from ..pipeline.metrics.precision import r_precision

        def look(_: int, views: tuple[View, ...]) -> np.ndarray:
            (view,) = views

            def make() -> Values:
                return {"vectors": self._clip.image(self.views.of(view)).cpu().numpy()}

            key: Key = ("pictures", *self._eyes, *self.views.settings, view.lit, view.file.digest)
            return self._kept.made(key, make)["vectors"]

        def read(_: int, prompt: str) -> np.ndarray:
            def make() -> Values:
                return {"vector": self._clip.text([prompt])[0].cpu().numpy()}

            return self._kept.made(("prompt", *self._eyes, prompt), make)["vector"]

        seen = self._each("looking at pictures", self.seen("r-precision"), look)
        said = self._each("reading prompts", dict(enumerate(self.found.prompts)), read)
        place = {prompt: i for i, prompt in enumerate(self.found.prompts)}
        origins = [self.found.samples[i].origin for i in seen]
        own = [place[origin.prompt] for origin in origins if origin]
        pictures, texts = (torch.from_numpy(np.stack(list(each.values()))) for each in (seen, said))
        right = r_precision(pictures, texts, torch.tensor(own))
        return dict(zip(seen, right.tolist(), strict=True))

    @cached_property
    def _eyes(self) -> tuple[str, str | None]:
        """The name and the hash of the CLIP that looks."""
        from ..pipeline.models import CHECKPOINTS, MODEL_SETS

        clip = CHECKPOINTS[MODEL_SETS[self.settings.models].clip]
        return clip.name, clip.sha256

    @cached_property
    def _clip(self) -> Clip:
        name, _ = self._eyes
        device = self._device
        from ..pipeline.conditioning import Clip

        self._fetch(name)
        return Clip.load(name, device, self._folders)

    # --- what all of them need -------------------------------------------------------------------------

    @cached_property
    def _shapes(self) -> list[Shape]:
        return [shapes.shape_of(sample) for sample in self.found.samples]

    @cached_property
    def _references(self) -> list[Shape]:
        assert self.settings.reference is not None
        return references.shapes_of(self.settings.reference, self.settings.seed, self._kept)

    @cached_property
    def _device(self) -> str:
        from ..pipeline.run import usable_device

        return usable_device(self.settings.device)

    def _fetch(self, name: str) -> None:
        """Have a checkpoint on this machine."""
        from ..pipeline import weights

        watch(
            Doing(f"downloading {name}", done / (total or done or 1), f"{done >> 20} MB")
            for done, total in weights.fetching(name, self._folders)
        )

    def _each(
        self, text: str, things: dict[int, Given], make: Callable[[int, Given], Made]
    ) -> dict[int, Made]:
        """What is made of each of some things, telling how far it has come."""
        made: dict[int, Made] = {}

        def fill() -> Iterator[Doing]:
            for done, (i, thing) in enumerate(things.items(), 1):
                made[i] = make(i, thing)
                yield Doing(text, done / len(things), f"{done}/{len(things)}")

        watch(fill())
        return made
