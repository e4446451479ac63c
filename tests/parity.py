"""Compare with the recorded answers of the released programs: `python tests/parity.py FOLDER`.

Reads any folder of their format, runs whatever it finds, prints a line a case and exits 1 if one fails.
Networks hold weights drawn from the names of their tensors, as the recorded ones did.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from PIL import Image
from torch import Tensor

from pointe_blender.pipeline import conditioning, files, geometry, meshing, models
from pointe_blender.pipeline.geometry import Mesh, PointCloud
from pointe_blender.pipeline.metrics import pointnet, scores
from pointe_blender.pipeline.point_e import diffusion, samplers
from tests.comparisons import Case, close, exact, relative, resolution, same_points, volume
from tests.drawn import built, normal

CLIP = "clip-vit-l-14"
T = TypeVar("T")


def main(folder: Path) -> int:
    """Run all cases; 0 if there is one and none fails."""
    passed = failed = 0
    for case in cases(folder):
        verdict = "pass" if case.passed else "FAIL"
        print(f"{case.name:32} largest {case.largest:9.2e}  rms {case.rms:9.2e}  {verdict}", flush=True)
        passed, failed = passed + case.passed, failed + (not case.passed)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


def cases(folder: Path) -> Iterator[Case]:
    """Everything the folder asks for, cheapest first; what raises is a failed case."""
    for path in sorted(folder.glob("*.keys.json")):
        yield from _guarded(path.name.removesuffix(".json"), keys, path)
    for name, run in (("pointnet", metrics), ("mesh", mesh), (CLIP, clip)):
        if (folder / f"{name}.npz").is_file():
            yield from _guarded(name, run, folder)
    for name in models.ARCHITECTURES:
        if name not in ("pointnet", CLIP) and (folder / f"{name}.npz").is_file():
            yield from _guarded(name, network, folder, name)
    if (folder / "sampling.npz").is_file():
        yield from _guarded("sampling", sampling, folder)


def _guarded(name: str, run: Callable[..., Iterator[Case]], *arguments: Any) -> Iterator[Case]:
    try:
        yield from run(*arguments)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        yield Case(name, np.inf, np.inf, False)


def keys(path: Path) -> Iterator[Case]:
    """A strict load takes exactly these names and shapes."""
    listed = json.loads(path.read_text())
    listed = listed.get("model_state_dict", listed)
    network = models.build(path.name.removesuffix(".keys.json"), "meta")

    def fits(shapes: dict[str, list[int]]) -> bool:
        state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        try:
            network.load_state_dict(state, strict=True, assign=True)
        except RuntimeError:
            return False
        return True

    name = next(reversed(listed))
    others = {key: shape for key, shape in listed.items() if key != name}
    wrong = [others, {**others, f"{name}_": listed[name]}, {**listed, f"{name}_": []}]
    wrong.append({**others, name: [*listed[name], 2]})
    yield exact(path.name.removesuffix(".json"), fits(listed) and not any(fits(shapes) for shapes in wrong))


@torch.inference_mode()
def network(folder: Path, name: str) -> Iterator[Case]:
    """One forward pass."""
    seed = json.loads((folder / "networks.json").read_text())["seed"]
    module: Any = built(name)
    if name == "sdf":
        output = module(normal(seed + 1, (2, 3, 1000)) * 0.3, normal(seed, (2, 3, 4096)) * 0.3)
    else:
        inputs: dict[str, Tensor] = {}
        if module.condition == "vector":
            inputs["embeddings"] = _unit(normal(seed + 2, (2, module.condition_dim)))
        elif module.condition == "grid":
            inputs["embeddings"] = normal(seed + 2, (2, module.condition_dim, 256))
        if module.low_res:
            spread, centre = torch.tensor([[0.2] * 3 + [60.0] * 3, [0.0] * 3 + [127.0] * 3])
            inputs["low_res"] = normal(seed + 3, (2, 6, 1024)) * spread[:, None] + centre[:, None]
        output = module(normal(seed, (2, 6, module.n_ctx)), torch.tensor([3.0, 900.0]), **inputs)
    with np.load(folder / f"{name}.npz") as recorded:
        yield close(name, output, recorded["output"])


def sampling(folder: Path) -> Iterator[Case]:
    """The samplers around a closed form in place of a network, then both stages with networks."""
    settings = json.loads((folder / "sampling.json").read_text())
    with np.load(folder / "sampling.npz") as recorded:
        for name, expected in recorded.items():
            if name == "two_stage":
                yield two_stage(settings, expected)
            else:
                cloud = torch.from_numpy(closed_form(name, settings, expected.shape))
                yield close(name, *map(diffusion.scale_channels, (cloud, torch.from_numpy(expected))))


def closed_form(name: str, settings: dict[str, Any], shape: tuple[int, int, int]) -> np.ndarray:
    """Final points of a case such as "upsample|heun|g3" or "upsample|ddpm8", in raw units."""
    model, sampler, *guidance = name.split("|")
    schedule = "linear" if model == "upsample" else "cosine"
    torch.manual_seed(settings["seed"])
    if sampler.startswith("ddpm"):
        loop = diffusion.GaussianDiffusion(schedule).ddpm(
            waves, torch.randn(shape), int(sampler.removeprefix("ddpm"))
        )
        cloud = diffusion.unscale_channels(_last(loop)[1])
    else:
        stage = models.Stage(
            points=shape[2],
            diffusion=schedule,
            sampler="euler_ancestral" if sampler == "ancestral" else sampler,
            steps=settings["steps"][0],
            s_churn=settings["s_churn"][0],
            guidance=float(guidance[0].removeprefix("g")),
        )
        share = torch.ones(shape[0])
        networks = samplers.Networks(
            conditional=partial(waves, share=share),
            both=partial(waves, share=torch.cat([share, torch.zeros_like(share)])),
        )
        cloud = _last(samplers.sample(stage, networks, shape))[1]
    return cloud.numpy()


def waves(x: Tensor, t: Tensor, share: Tensor | None = None) -> Tensor:
    """A smooth stand-in for a network, zero where it is unconditional."""
    eps = 0.6 * torch.sin(2 * x) + 0.4 * x * t[:, None, None] / 1024
    if share is not None:
        eps = eps * share[:, None, None]
    return torch.cat([eps, torch.zeros_like(eps)], dim=1)


def two_stage(settings: dict[str, Any], expected: np.ndarray) -> Case:
    """A cloud of 1024 points and the 3072 more; in units of colour's 0–255 for the colours."""
    official = models.MODEL_SETS["official-text"]
    vector = _unit(normal(settings["seed"], (1, 768)))
    torch.manual_seed(settings["seed"])
    coarse = _stage(official.base, official.base_stage, settings, 0, {"embeddings": vector})
    fine = _stage(official.upsample, official.upsample_stage, settings, 1, {"low_res": coarse})
    difference = (torch.cat([coarse, fine], dim=2) - torch.from_numpy(expected)).abs()
    largest, rms = difference.max().item(), difference[:, :3].square().mean().sqrt().item()
    passed = rms < 1e-4 and difference[:, :3].max() < 1e-2 and difference[:, 3:].max() < 3
    return Case("two_stage", largest, rms, bool(passed))


def _stage(
    name: str, stage: models.Stage, settings: dict[str, Any], i: int, condition: dict[str, Tensor]
) -> Tensor:
    chosen = {key: settings[key][i] for key in ("steps", "s_churn", "guidance")}
    stage = replace(stage, **chosen)
    network: Any = built(name)
    networks = network.under(guided=stage.guided, **condition)
    return _last(samplers.sample(stage, networks, (1, 6, stage.points)))[1]


def clip(folder: Path) -> Iterator[Case]:
    """Preprocessing, tokens, vectors and grid of ViT-L/14."""
    listed = json.loads((folder / f"{CLIP}.json").read_text())
    module = built(CLIP)
    module.logit_scale.data.fill_(4.6052)
    tokenizer = conditioning.build_tokenizer(models.ARCHITECTURES[CLIP].config)
    model = conditioning.Clip(module, tokenizer)
    with np.load(folder / f"{CLIP}.npz") as recorded:
        if listed["prompts"]:
            yield exact(f"{CLIP} tokens", model.tokenize(listed["prompts"]).numpy() == recorded["tokens"])
            yield relative(f"{CLIP} text", model.text(listed["prompts"]), recorded["text"])
        if listed["images"]:
            paths = [_data(folder, name) for name in listed["images"]]
            images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
            pixels = torch.stack([model.preprocess(image) for image in images])
            yield close(f"{CLIP} pixels", pixels, recorded["pixels"], largest=0.03, rms=0.03)
            yield relative(f"{CLIP} image", model.image(images), recorded["image"])
            yield relative(f"{CLIP} grid", model.grid(images)[:, ::8, ::4], recorded["grid"])


def mesh(folder: Path) -> Iterator[Case]:
    """Surface, colours, distance field, farthest points and files."""
    with np.load(_data(folder, "pc_corgi.npz")) as stored:
        cloud = PointCloud(stored["coords"], np.stack([stored[channel] for channel in "RGB"], axis=1))
    with np.load(folder / "mesh.npz") as recorded:
        vertices, faces = recorded["verts"], recorded["faces"]
        made, triangles = meshing.surface(sphere(resolution(vertices)))
        yield same_points("mesh verts", made, vertices)
        ours, theirs = volume(made, triangles), volume(vertices, faces)
        # Polygons of more than three corners can be cut in more ways than one.
        yield close("mesh volume", torch.tensor(ours / theirs), np.ones(()), largest=5e-4, rms=5e-4)
        yield exact("mesh closed", geometry.is_closed(triangles))

        found = meshing.nearest(cloud.points, vertices)
        yield exact("mesh nearest", found == recorded["nearest"])
        start = int(_where(cloud.points, recorded["fps"][0]))
        chosen = meshing.farthest_points(cloud.points, len(recorded["fps"]), start)
        yield exact("mesh fps", cloud.points[chosen] == recorded["fps"])
        if "field" in recorded:
            field = _returned(meshing.evaluate(built("sdf"), cloud, len(recorded["field"]), "cpu"))
            yield close("mesh field", torch.from_numpy(field), recorded["field"])

        coloured = Mesh(vertices, faces.astype(np.int32), cloud.colors[recorded["nearest"]])
        for name, thing in (("ply_mesh", coloured), ("ply_cloud", cloud)):
            if name in recorded:
                yield exact(f"mesh {name}", _ply(thing) == recorded[name].tobytes())


def sphere(side: int) -> np.ndarray:
    """The recorded field: a sphere off the centre of the cube."""
    axis = np.linspace(-meshing.SIDE / 2, meshing.SIDE / 2, side)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    return (0.35 - np.linalg.norm(lattice - (0.05, -0.02, 0.1), axis=-1)).astype(np.float32)


@torch.inference_mode()
def metrics(folder: Path) -> Iterator[Case]:
    """Features and probabilities of PointNet++, Fréchet distance and inception score."""
    with np.load(folder / "pointnet.npz") as recorded:
        clouds = pointnet.normalised(torch.from_numpy(recorded["clouds"]))
        features, probabilities = built("pointnet")(clouds)
        yield close("pointnet features", features, recorded["features"])
        yield close("pointnet probabilities", probabilities, recorded["probabilities"])
        random = np.random.RandomState(1)
        a, b = random.standard_normal((600, 16)), random.standard_normal((500, 16)) * 1.2 + 0.1
        fid = torch.tensor(scores.frechet_distance(a, b))
        yield close("pointnet fid", fid, recorded["fid"], largest=1e-5, rms=1e-5)
        inception = torch.tensor(scores.inception_score(random.dirichlet(np.ones(40) * 0.3, 600)))
        yield close("pointnet inception", inception, recorded["inception"], largest=1e-5, rms=1e-5)


def _ply(thing: PointCloud | Mesh) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "it.ply"
        files.write_ply(path, thing)
        return path.read_bytes()


def _data(folder: Path, name: str) -> Path:
    """A file beside the recorded answers, or in the folder `data` beside theirs."""
    beside = folder / name
    return beside if beside.is_file() else folder.parent / "data" / name


def _where(points: np.ndarray, point: np.ndarray) -> int:
    return int(np.argmax((points == point).all(axis=1)))


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True)


def _last(steps: Iterator[T]) -> T:
    *_, last = steps
    return last


def _returned(generator: Generator[Any, None, T]) -> T:
    """What a generator returns in the end."""
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            result: T = stop.value
            return result


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python tests/parity.py FOLDER")
    sys.exit(main(Path(sys.argv[1]).resolve()))
