"""The official program, imported from a checkout of its own: as it is, and with faster attention put in.

Only what is timed runs: CLIP's answer is given to it, and packages that it merely imports need not be there.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointe_blender.pipeline import weights
from pointe_blender.pipeline.models import CHECKPOINTS, ModelSet
from pointe_blender.pipeline.point_e.precision import half_precision

from .table import HALF, OFFICIAL, SDPA
from .timing import Turns

IMPORTED = ("requests", "filelock", "tqdm", "tqdm.auto")  # by what downloads weights and shows progress
GRID = (1024, 256)  # channels and cells of CLIP's grid


class Official:
    """The official networks and samplers on one device, with the weights of a models folder."""

    def __init__(self, checkout: Path, device: str, folders: weights.Folders) -> None:
        import_from(checkout)
        self.device, self._folders = device, folders
        self._network, self._state = cache(self._load), cache(self._read)

    @property
    def programs(self) -> tuple[str, ...]:
        """What can be run: `HALF` only where the device computes faster so."""
        return (OFFICIAL, SDPA, HALF) if half_precision(self.device) else (OFFICIAL, SDPA)

    def network(self, name: str, program: str) -> Any:
        """The network of a checkpoint; the programs share its weights."""
        return self._network(name, program)

    def sampling(
        self,
        program: str,
        models: ModelSet,
        condition: dict[str, Tensor],
        steps: int,
        seed: int,
        keep: Callable[[np.ndarray], None],
        stages: Sequence[str] = ("base", "upsample"),
    ) -> Turns:
        """Sample one cloud as the official notebooks do; `keep` is given its (N, 6) raw points.

        Parameters
        ----------
        condition
            "embeddings" (1, 768) of a prompt, "images" (1, 1024, 256) of a picture's grid; "low_res" where
            the upsampler runs alone.
        """
        called: list[str] = []
        networks = [self.network(getattr(models, stage), program) for stage in stages]
        hooks = [
            network.register_forward_hook(lambda *_, stage=stage: called.append(stage))
            for network, stage in zip(networks, stages, strict=True)
        ]
        samples = self._sampler(networks, models, steps, stages).sample_batch_progressive(1, condition)
        # Programs that take turns share the global generator, but each draws as if it were alone.
        draws = torch.Generator().manual_seed(seed).get_state()
        last: Tensor | None = None
        try:
            while True:
                with self.precision(program), torch.no_grad(), torch.random.fork_rng(devices=[]):
                    torch.random.set_rng_state(draws)
                    sample = next(samples, None)
                    draws = torch.random.get_rng_state()
                if sample is None:
                    break
                last = sample
                yield called[-1] if called else "", len(called)
                called.clear()
        finally:
            for hook in hooks:
                hook.remove()
        assert last is not None
        keep(last[0].float().cpu().numpy().T)

    def _sampler(
        self, networks: Sequence[nn.Module], models: ModelSet, steps: int, stages: Sequence[str]
    ) -> Any:
        from point_e.diffusion.configs import DIFFUSION_CONFIGS, diffusion_from_config
        from point_e.diffusion.sampler import PointCloudSampler

        settings = {"base": ("embeddings", 3.0, 120, 3), "upsample": ("low_res", 0.0, 160, 0)}
        if models.condition == "grid" and "base" in stages:  # both see the picture
            settings = {"base": ("*", 3.0, 120, 3), "upsample": ("*", 3.0, 160, 0)}
        filters, guidance, sigma_max, churn = zip(*(settings[stage] for stage in stages), strict=True)
        architectures = [CHECKPOINTS[getattr(models, stage)].architecture for stage in stages]
        return PointCloudSampler(
            device=torch.device(self.device),
            models=networks,
            diffusions=[diffusion_from_config(DIFFUSION_CONFIGS[name]) for name in architectures],
            num_points=[{"base": 1024, "upsample": 3072}[stage] for stage in stages],
            aux_channels=["R", "G", "B"],
            model_kwargs_key_filter=filters,
            guidance_scale=guidance,
            use_karras=[True] * len(stages),
            karras_steps=[steps] * len(stages),
            sigma_min=[1e-3] * len(stages),
            sigma_max=sigma_max,
            s_churn=churn,
        )

    def precision(self, program: str) -> AbstractContextManager[Any]:
        """What the program runs in."""
        half = half_precision(self.device)
        if program != HALF or half is None:
            return nullcontext()
        return torch.autocast(self.device.partition(":")[0], getattr(torch, half))

    def _load(self, name: str, program: str) -> nn.Module:
        from point_e.models.configs import MODEL_CONFIGS, model_from_config

        config = MODEL_CONFIGS[CHECKPOINTS[name].architecture]
        network = model_from_config(config, torch.device("meta"))
        network.load_state_dict(self._state(name), strict=True, assign=True)
        if program != OFFICIAL:
            attend_fast(network)
        return network.eval()

    def _read(self, name: str) -> dict[str, Tensor]:
        state = weights.load_state(name, self._folders)
        return {key: value.to(self.device) for key, value in state.items()}


def import_from(checkout: Path) -> None:
    """Make the official package importable, with stand-ins for what is missing and not timed."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    for name in IMPORTED:
        if not _is_there(name):
            sys.modules[name] = _StandIn(name)
    if not _is_there("scipy"):
        sys.modules["scipy"] = scipy = ModuleType("scipy")
        sys.modules["scipy.interpolate"] = interpolate = ModuleType("scipy.interpolate")
        scipy.interpolate = interpolate  # type: ignore[attr-defined]
        interpolate.interp1d = _interpolation  # type: ignore[attr-defined]
    from point_e.models import transformer

    transformer.FrozenImageCLIP = GivenClip


class GivenClip:
    """Stands for CLIP in the official networks: what it is asked about is its answer already."""

    feature_dim, grid_feature_dim, grid_size = 768, GRID[0], 16

    def __init__(self, device: torch.device, **_: object) -> None:
        pass

    def __call__(self, batch_size: int, *, embeddings: Tensor, **_: object) -> Tensor:
        return embeddings

    def embed_images_grid(self, images: Tensor) -> Tensor:
        return images


def attend_fast(network: nn.Module) -> None:
    """Put PyTorch's own attention in place of the official one, which holds every score at once."""
    for module in network.modules():
        inner = getattr(module, "attention", None)
        if inner is not None and not isinstance(inner, Fused):
            module.attention = Fused(inner.heads)


class Fused(nn.Module):
    """`scaled_dot_product_attention` of queries, keys and values packed per head."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, packed: Tensor, keys_values: Tensor | None = None) -> Tensor:
        """(B, L, 3 W), or (B, M, W) queries and (B, L, 2 W): (B, L or M, W)."""
        q, *rest = self._per_head(packed).chunk(3 if keys_values is None else 1, dim=-1)
        k, v = rest if keys_values is None else self._per_head(keys_values).chunk(2, dim=-1)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def _per_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _StandIn(ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


def _is_there(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # what it belongs to is missing
        return False


def _interpolation(x: np.ndarray, y: np.ndarray) -> Callable[[float], float]:
    """What the official code needs of scipy's class: linear, for x in either order."""
    order = np.argsort(x)
    return lambda at: float(np.interp(at, x[order], y[order]))
