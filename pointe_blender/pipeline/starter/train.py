"""Train the starter models from nothing: `python build.py train starter --minutes 106`.

One configuration file and one seed. Each network gets its share of the minutes, its learning rate following
the time that has passed, so the same command makes the most of a laptop and of a GPU. A run that was cut goes
on where it was; once the base model is there, the last two can be trained by two processes with `--only`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .. import conditioning
from ..models import ARCHITECTURES, STARTER, build
from ..point_e.diffusion import EDM
from . import losses
from .data import Dataset, training_set
from .evaluate import write_scores
from .vocabulary import MERGES, write_merges

log = logging.getLogger("starter")
NETWORKS = ("clip", "base", "upsample", "sdf", "judge")
LAST = ("upsample", "sdf", "judge")  # can be trained side by side
SAVED_EVERY = 60.0
MATRIX = 64  # rows and columns from which Muon takes a weight


class Trainer:
    """One network, its moving average and its optimisers, saved every minute.

    Warm-up, and a linear decay over the last third; the average is what ships.
    """

    def __init__(self, name: str, network: nn.Module, rate: float, folder: Path, muon: bool = False) -> None:
        self.name, self.network = name, network
        self.average = deepcopy(network).eval().requires_grad_(False)
        self.optimizers = optimizers(network, rate, muon)
        self.rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        self.step, self.elapsed = 0, 0.0
        self.path = folder / f"{name}.pt"
        if self.path.exists():
            state = torch.load(self.path, weights_only=True)
            self.step, self.elapsed = state["step"], state["elapsed"]
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)

    def run(self, loss: losses.Loss, seconds: float, device: str) -> nn.Module:
        """Train until `seconds` are used up, earlier runs included; returns the averaged network."""
        self.network.train()
        saved = reported = time.monotonic()
        mean = 0.0
        while self.elapsed < seconds:
            start = time.monotonic()
            progress = self.elapsed / seconds
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                value = loss(progress)
            self._update(value, progress)
            current = float(value.detach())
            mean = current if mean == 0 else 0.98 * mean + 0.02 * current
            now = time.monotonic()
            self.elapsed += now - start
            if now - reported > 30:
                reported = now
                log.info(
                    "%s: %.0f of %.0f s, step %d, loss %.4f",
                    self.name,
                    self.elapsed,
                    seconds,
                    self.step,
                    mean,
                )
            if now - saved > SAVED_EVERY:
                saved = now
                self.save()
        self.save()
        return self.average

    def _update(self, value: Tensor, progress: float) -> None:
        share = min(1.0, (self.step + 1) / 150) * min(1.0, (1 - progress) / 0.35)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        keep = min(0.998, self.step / (self.step + 10))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
            for mine, new in pairs:
                mine.lerp_(new, 1 - keep)

    def save(self) -> None:
        """Write everything that going on needs, whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "elapsed": self.elapsed,
        }
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.path)


def warm_start_upsampler(upsampler: nn.Module, base: nn.Module) -> None:
    """Give the upsampler what the base model knows: coarse points are points without noise."""
    known = base.state_dict()
    state = {key: known.get(key, value) for key, value in upsampler.state_dict().items()}
    state["cond_point_proj.weight"] = known["input_proj.weight"]
    state["cond_point_proj.bias"] = known["input_proj.bias"]
    upsampler.load_state_dict(state)


def optimizers(network: nn.Module, rate: float, muon: bool) -> list[torch.optim.Optimizer]:
    """AdamW for everything; with `muon` (Jordan 2024) that for the matrices between hidden channels."""
    matrices = {
        key: value
        for key, value in network.named_parameters()
        if muon and value.ndim == 2 and min(value.shape) >= MATRIX
    }
    others = [value for key, value in network.named_parameters() if key not in matrices]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=0.01)
    ]
    if matrices:
        found.append(torch.optim.Muon(list(matrices.values()), lr=20 * rate, weight_decay=0.01))
    return found


def clip_vectors(network: nn.Module, data: Dataset, tokens: Tensor, device: str) -> tuple[Tensor, Tensor]:
    """(N, wordings, D) caption vectors and (N, views, D) picture vectors, L2-normalised, on the host."""
    model: Any = network.eval()

    def encoded(rows: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.inference_mode():
            parts = torch.split(rows.flatten(0, 1), 256)
            vectors = torch.cat([encode(part.to(device)).float().cpu() for part in parts])
        return vectors.view(*rows.shape[:2], -1).clone()

    texts = encoded(tokens, lambda part: model.encode_text(part, normalize=True))
    images = encoded(
        data.pictures,
        lambda part: model.encode_image(
            conditioning.normalise(part.permute(0, 3, 1, 2) / 255.0), normalize=True
        ),
    )
    return texts, images


def export(name: str, network: nn.Module, folder: Path) -> None:
    """Write the weights as they ship: float16 safetensors."""
    state = {key: value.half().contiguous().cpu() for key, value in network.state_dict().items()}
    save_file(state, folder / f"{name}.safetensors")


def train(
    config: Mapping[str, Any], minutes: float, device: str, folder: Path, only: tuple[str, ...]
) -> None:
    """Train CLIP and the base model, then what `only` names of the others; export them to `folder`."""
    torch.manual_seed(config["seed"])
    settings = config["training"]
    data = training_set(config, folder)
    tokenizer = conditioning.build_tokenizer(ARCHITECTURES["starter-clip"].config, MERGES)
    tokens = torch.stack([tokenizer(words) for words in data.captions])

    def trained(name: str, network: nn.Module, loss: Callable[[nn.Module], losses.Loss]) -> nn.Module:
        muon = settings[name].get("muon", False)
        trainer = Trainer(name, network.to(device), settings[name]["rate"], folder, muon)
        seconds = 60 * minutes * settings["shares"][name]
        average = trainer.run(loss(trainer.network), seconds, device)
        export(name, average, folder)
        return average

    def edm(name: str) -> EDM:
        return EDM(config["stages"][name]["sigma_data"])

    network = conditioning.build_network(ARCHITECTURES["starter-clip"].config)
    clip = trained("clip", network, lambda n: losses.clip_loss(n, data, tokens, settings["clip"], device))
    vectors = clip_vectors(clip, data, tokens, device)
    base: Any = trained(
        "base",
        build("starter-base"),
        lambda n: losses.base_loss(n, data, vectors, edm("base"), settings["base"], device),
    ).cpu()
    if "upsample" in only:
        upsampler = build("starter-upsample")
        warm_start_upsampler(upsampler, base)
        trained(
            "upsample",
            upsampler,
            lambda n: losses.upsample_loss(n, data, edm("upsample"), settings["upsample"], device),
        )
    if "sdf" in only:
        trained("sdf", build("starter-sdf"), lambda n: losses.sdf_loss(n, data, settings["sdf"], device))
    if "judge" in only:
        judge = build("starter-judge")
        trained("judge", judge, lambda n: losses.judge_loss(n, data, settings["judge"], device))


def publish(folder: Path) -> bool:
    """Move a complete set into the package; whether there was one."""
    files = [folder / f"{name}.safetensors" for name in NETWORKS]
    if not all(file.exists() for file in files):
        return False
    for file in files:
        shutil.copyfile(file, STARTER / file.name)
    return True


def main() -> None:
    """Parse the command line, train, and score the set once it is complete."""
    parser = argparse.ArgumentParser(prog="build.py train starter", description=__doc__)
    parser.add_argument("--minutes", type=float, default=106, help="for all four networks together")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", type=Path, default=Path("training"), help="what is kept between runs")
    parser.add_argument("--only", nargs="*", choices=LAST, default=LAST, help="after CLIP and the base model")
    parser.add_argument("--scores", action="store_true", help="train nothing, score the set that is shipped")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if not arguments.scores:
        config = json.loads((STARTER / "config.json").read_text(encoding="utf-8"))
        size = write_merges()
        expected = config["networks"]["clip"]["text_cfg"]["vocab_size"]
        assert size == expected, f"config.json: vocab_size is {expected}, the world has {size}"
        train(config, arguments.minutes, arguments.device, arguments.folder, tuple(arguments.only))
    if arguments.scores or publish(arguments.folder):
        write_scores()


if __name__ == "__main__":
    main()
