"""Checkpoints: released weights, their sources, sizes, hashes and licences.

Facts only; files are the business of `store` and `weights`. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


class HubFile(NamedTuple):
    """A file on the Hugging Face Hub."""

    repo: str
    repo_type: Literal["model", "dataset", "space"]
    path: str


@dataclass(frozen=True)
class Checkpoint:
    """Weights for one architecture, and where they come from.

    Attributes
    ----------
    file
        Its name at the source, and in a folder of the user's.
    megabytes
        About how large the download is.
    urls, hub
        Sources, tried in this order; both empty when it ships inside the package.
    size, sha256
        Exact bytes and hash of the file, `None` where nobody published them.
    key
        Where the state dict lies inside the file; `None`: the file is one.
    """

    name: str
    architecture: str
    file: str
    megabytes: int
    urls: tuple[str, ...] = ()
    hub: HubFile | None = None
    size: int | None = None
    sha256: str | None = None
    licence: str = "MIT"
    key: str | None = None

    @property
    def packaged(self) -> bool:
        """Whether it ships inside the package."""
        return not self.urls and self.hub is None


def _official(name: str, file: str, megabytes: int, *, copied: bool = False, **known: Any) -> Checkpoint:
    """A checkpoint at OpenAI's address; `copied`: the Hub has the same file."""
    hub = HubFile("MirageML/point-e", "space", f"point_e_model_cache/{file}") if copied else None
    url = f"https://openaipublic.azureedge.net/main/point-e/{file}"
    return Checkpoint(name, name, file, megabytes, (url,), hub, **known)


def _starter(part: str, sha256: str) -> Checkpoint:
    name, file = f"starter-{part}", f"{part}.safetensors"
    return Checkpoint(name, name, file, 3, sha256=sha256, licence="GPL-3.0-or-later")


_TEXTVEC_HASH = "c01c13df8f2f6ebdc4daf360625350a3715e7cd3ed4ac93e577f9f1958bfccc4"
_UPSAMPLE_HASH = "07881c369ee0bef1a45b8ff1f464626a099a6023eef4197e4a445f5dce37ed20"
_CAP3D = "pointE_finetuned_with_825kdata.pth"
_CAP3D_HASH = "703a73076fd8218e957c59a053503b0778d6af5d5e7ad13394a35fd36148f98b"
_CLIP_HASH = "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"

CHECKPOINTS: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint
    for checkpoint in (
        _official("base40M-textvec", "base_40m_textvec.pt", 161, copied=True, sha256=_TEXTVEC_HASH),
        _official("base40M-imagevec", "base_40m_imagevec.pt", 161),
        _official("base40M-uncond", "base_40m_uncond.pt", 160),
        _official("base40M", "base_40m.pt", 162, copied=True),
        _official("base300M", "base_300m.pt", 1247, copied=True),
        _official("base1B", "base_1b.pt", 4977, copied=True),
        _official("upsample", "upsample_40m.pt", 162, copied=True, sha256=_UPSAMPLE_HASH),
        _official("sdf", "sdf.pt", 38, copied=True),
        _official("pointnet", "pointnet.pt", 23, key="model_state_dict"),
        Checkpoint(
            "cap3d-textvec",
            "base40M-textvec",
            _CAP3D,
            484,
            hub=HubFile("tiange/Cap3D", "dataset", f"misc/our_finetuned_models/{_CAP3D}"),
            sha256=_CAP3D_HASH,
            licence="ODC-By-1.0",
            key="model_state_dict",
        ),
        Checkpoint(
            "clip-vit-l-14",
            "clip-vit-l-14",
            "ViT-L-14.pt",
            933,
            (f"https://openaipublic.azureedge.net/clip/models/{_CLIP_HASH}/ViT-L-14.pt",),
            HubFile("MirageML/point-e", "space", "point_e_model_cache/ViT-L-14.pt"),
            size=932_768_134,
            sha256=_CLIP_HASH,
        ),
        _starter("clip", "dcb42669d33192c018d238773cac96b377e386161417226c93b3e1c6eca45fa6"),
        _starter("base", "e2d550c385fca0a17ef223196d116e70b1b4003955eb9d1dd119a380a819b10d"),
        _starter("upsample", "1427b91004c7d9dca4f816bf75cbd3d7583fd46a4cccf3aa9498bc9aaafbf4ec"),
        _starter("sdf", "08583f769445c32767dadcde679b0a7dd5c7eb5167a773db45a57e4bdb5cb6b8"),
        _starter("judge", "8e701c5a094c874db7ce87d51a15df815d79bbf618b263a5b71179476085c5e4"),
    )
}
