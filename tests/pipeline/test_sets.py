"""Model sets as the list in the preferences shows them: how they stand, install, verify, delete."""

from __future__ import annotations

import hashlib
import signal
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pointe_blender.pipeline import models, sets, store, weights
from pointe_blender.pipeline.errors import CannotWrite, DamagedModel, DownloadFailed, NotOnline
from pointe_blender.pipeline.models import CHECKPOINTS, INSTALLABLE, MODEL_SETS, Checkpoint
from pointe_blender.pipeline.weights import Folders
from tests.pipeline import server as bad
from tests.pipeline.checkpoints import (
    equal,
    fetch,
    in_another_process,
    put,
    random_state,
    run_python,
    sdf,
    sdf_file,
    torch_file,
    wait_for,
)
from tests.pipeline.server import Server


@dataclass(frozen=True)
class Few:
    """A set of few and small checkpoints, the first of which is its own."""

    name: str
    label: str
    parts: tuple[str, ...]

    @property
    def base(self) -> str:
        return self.parts[0]

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        return tuple(CHECKPOINTS[part] for part in self.parts)


@pytest.fixture
def small(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sets: `one` has pointnet and sdf, `other` has base40M-uncond and the same sdf."""
    server.files["pointnet.pt"] = torch_file({"model_state_dict": random_state("pointnet")})
    for few in (Few("one", "One", ("pointnet", "sdf")), Few("other", "Other", ("base40M-uncond", "sdf"))):
        monkeypatch.setitem(INSTALLABLE, few.name, few)
        monkeypatch.setitem(MODEL_SETS, few.name, few)


def install(name: str, folders: Folders, damaged: set[str] | None = None) -> list[sets.Doing]:
    """Install to the end."""
    return list(sets.install(name, folders, set() if damaged is None else damaged))


# How a set stands


def test_from_nothing_to_a_whole_set(folders: Folders) -> None:
    def stands(name: str) -> str:
        return sets.standings(folders)[name].text

    assert stands("starter") == "inside the extension"
    assert stands("official-text") == "not installed, 1.3 GB to download"
    assert stands("clip-vit-l-14") == "not installed, 933 MB to download"

    put(folders, "clip-vit-l-14")
    assert stands("official-text") == "partly here, 361 MB to download"
    assert stands("clip-vit-l-14") == "installed, 1 kB"

    (folders.user / "base_40m_textvec.pt.example.org.part").write_bytes(bytes(100_000_000))
    assert stands("official-text") == "interrupted at 80%, 261 MB to download"

    put(folders, "base40M-textvec", "upsample", "sdf")
    assert stands("official-text").startswith("installed, ")
    assert sets.standings(folders, {"sdf"})["official-text"].text == "damaged, install it again"
    assert stands("official-1B") == "partly here, 5.0 GB to download", "shared parts are counted once"


def test_files_of_ones_own_need_no_download_and_cannot_be_deleted(folders: Folders, tmp_path: Path) -> None:
    own = Folders(tmp_path / "models", extra=(tmp_path / "mine",))
    put(Folders(tmp_path / "mine"), "clip-vit-l-14", "upsample", "sdf", "base40M")
    standing = sets.standings(own)["official-40M"]
    assert (standing.state, standing.text) == ("installed", "your own files")
    assert (standing.to_download, standing.deletable) == (0, 0)
    assert sets.delete("official-40M", own) == 0
    assert len(list((tmp_path / "mine").iterdir())) == 4


def test_the_list_is_read_without_torch() -> None:
    code = (
        "from pointe_blender.pipeline import needs, sets, store\n"
        "sets.standings(store.default_folders()), needs.memory_needed('official-1B', 4, 'cuda')\n"
        "import sys; print('torch' in sys.modules, 'numpy.linalg' in sys.modules and 'bpy' in sys.modules)"
    )
    assert run_python(code) == "False False"


# Installing


def test_a_set_is_installed_part_by_part(small: None, server: Server, folders: Folders) -> None:
    told = install("one", folders)
    assert sets.standings(folders)["one"].state == "installed"
    fractions = [doing.fraction for doing in told]
    assert fractions == sorted(fractions) and fractions[0] < 0.1 and fractions[-1] > 0.95
    assert list(dict.fromkeys(doing.text for doing in told)) == [
        "Fetching pointnet",
        "Checking pointnet",
        "Fetching sdf",
        "Checking sdf",
    ]
    assert not install("one", folders) and len(server.seen) == 2


def test_bytes_rate_and_remaining_time_are_told(small: None, server: Server, folders: Folders) -> None:
    def steady(handler: bad.Handler, body: bytes) -> None:
        handler.head(200, Content_Length=len(body), ETag='"steady"')
        for start in range(0, len(body), len(body) // 12):
            handler.wfile.write(body[start : start + len(body) // 12])
            time.sleep(0.1)

    server.faults = [bad.lying(), steady]
    detail = next(doing.detail for doing in install("one", folders) if "/s" in doing.detail)
    assert detail.endswith(" left in all") and " of 38 MB, " in detail
    assert 20 < float(detail.split(", ")[1].removesuffix(" MB/s")) < 50


def test_a_set_that_was_cancelled_goes_on_where_it_was(small: None, server: Server, folders: Folders) -> None:
    with closing(sets.install("one", folders, set())) as steps:
        next(doing for doing in steps if doing.text == "Fetching sdf" and doing.fraction > 0.6)
    standing = sets.standings(folders)["one"]
    assert standing.state == "interrupted" and "interrupted at" in standing.text
    install("one", folders)
    assert len(server.seen) == 3 and server.seen[-1].range is not None
    assert equal(weights.load_state("sdf", folders), sdf())


@pytest.mark.parametrize("step", [3, 14], ids=["hashing", "converting"])
def test_what_has_arrived_survives_a_cancel_while_it_is_checked(
    server: Server, folders: Folders, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole = len(sdf_file())
    published = replace(CHECKPOINTS["sdf"], sha256=hashlib.sha256(sdf_file()).hexdigest())
    monkeypatch.setitem(CHECKPOINTS, "sdf", published)
    with closing(weights.fetching("sdf", folders)) as amounts:
        ready = [next(amounts) for _ in iter(lambda: next(amounts)[0] < whole, False)]
        for _ in range(step):
            assert next(amounts) == (whole, whole)
        converting = (folders.user / "sdf.safetensors.part").exists()
    assert ready and converting == (step == 14)
    assert not list(folders.user.glob("*.safetensors*"))
    fetch("sdf", folders)
    assert len(server.seen) == 1
    assert equal(weights.load_state("sdf", folders), sdf())


def test_a_process_that_is_killed_while_it_converts_leaves_nothing_in_the_way(
    server: Server, folders: Folders
) -> None:
    process = in_another_process(folders, pause=0.05)
    process.stdin.close()
    wait_for(lambda: bool(list(folders.user.glob("sdf.safetensors.part"))))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not weights.is_installed("sdf", folders)
    fetch("sdf", folders)
    assert [path.name for path in folders.user.iterdir() if path.name != store.LOCKS] == ["sdf.safetensors"]
    assert equal(weights.load_state("sdf", folders), sdf())


def test_offline_a_set_is_refused_and_the_rest_still_works(small: None, folders: Folders) -> None:
    install("one", folders)
    offline = replace(folders, online=False)
    with pytest.raises(NotOnline, match=r"allow it in Blender's preferences, or put base_40m_uncond.pt"):
        install("other", offline)
    assert not install("one", offline)
    assert list(sets.verify("one", offline, set()))
    assert equal(weights.load_state("sdf", offline), sdf())


def test_a_failing_server_is_told_and_what_arrived_is_kept(
    small: None, server: Server, folders: Folders
) -> None:
    server.faults = [bad.lying(), bad.cut(19_000_000), *[bad.status(503)] * 4]
    with pytest.raises(DownloadFailed, match="503"):
        install("one", folders)
    assert sets.standings(folders)["one"].to_download == 19_000_000


# Verifying


@pytest.mark.parametrize("place", [3, 40, 90, 700, 20_000_000, -1])
def test_one_flipped_bit_is_found_and_mended(
    small: None, server: Server, folders: Folders, place: int
) -> None:
    install("one", folders)
    damaged: set[str] = set()
    told = list(sets.verify("one", folders, damaged))
    assert [doing.fraction for doing in told] == sorted(doing.fraction for doing in told) and not damaged
    assert told[-1] == sets.Doing("Every byte was checked and is right", 1.0)

    file = folders.user / "sdf.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedModel, match="delete it and download"):
        list(sets.verify("one", folders, damaged))
    assert damaged == {"sdf"} and sets.standings(folders, damaged)["one"].state == "damaged"

    install("one", folders, damaged)
    assert not damaged and equal(weights.load_state("sdf", folders), sdf())
    assert len(server.seen) == 3


def test_the_models_inside_are_what_was_published(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged: set[str] = set()
    assert list(sets.verify("starter", folders, damaged)) and not damaged

    for part in MODEL_SETS["starter"].checkpoints:
        (tmp_path / part.file).write_bytes((models.STARTER / part.file).read_bytes())
    monkeypatch.setattr(store, "STARTER", tmp_path)
    with (tmp_path / "base.safetensors").open("rb+") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(DamagedModel, match="install the extension again"):
        list(sets.verify("starter", folders, damaged))
    assert damaged == {"starter-base"}


def test_a_file_of_ones_own_is_verified_as_far_as_it_can_be(
    small: None, folders: Folders, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "sdf.pt").write_bytes(sdf_file())
    own = replace(folders, extra=(mine,))
    install("one", own)
    assert (folders.user / "sdf.own.safetensors").is_file(), "converted now, not when it is first used"
    *_, last = sets.verify("one", own, set())
    assert last.text == "Names and shapes are right; there is no hash to compare sdf with"

    (folders.user / "sdf.own.safetensors").write_bytes(b"\x08" + bytes(100))
    damaged: set[str] = set()
    with pytest.raises(DamagedModel, match=r"sdf\.own"):
        list(sets.verify("one", own, damaged))
    install("one", own, damaged)
    assert equal(weights.load_state("sdf", own), sdf()) and (mine / "sdf.pt").is_file()


def test_installing_does_not_hide_that_a_file_of_ones_own_is_wrong(
    small: None, folders: Folders, tmp_path: Path
) -> None:
    install("one", folders)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "sdf.safetensors").write_bytes(b"\x08" + bytes(100))
    own, damaged = replace(folders, extra=(mine,)), set[str]()
    store.delete("sdf", folders)
    with pytest.raises(DamagedModel):
        list(sets.verify("one", own, damaged))
    with pytest.raises(DamagedModel, match=r"mine.*delete it and download"):
        install("one", own, damaged)
    assert damaged == {"sdf"} and (mine / "sdf.safetensors").is_file()
    (mine / "sdf.safetensors").unlink()
    install("one", own, damaged)
    assert not damaged and equal(weights.load_state("sdf", own), sdf())


def test_verifying_can_be_cancelled(small: None, folders: Folders) -> None:
    install("one", folders)
    steps = sets.verify("one", folders, set())
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert sets.standings(folders)["one"].state == "installed"


# Deleting


def test_a_deleted_set_keeps_what_others_need(small: None, folders: Folders) -> None:
    put(folders, "pointnet", "sdf", "base40M-uncond")
    standing = sets.standings(folders)["one"]
    assert (standing.on_disk, standing.deletable) == (2000, 1000)
    assert sets.delete("one", folders) == 1000
    assert weights.is_installed("sdf", folders) and not weights.is_installed("pointnet", folders)
    assert sets.delete("other", folders) == 2000
    assert [path.name for path in folders.user.iterdir()] == [store.LOCKS]


def test_a_part_that_is_needed_is_not_deleted(folders: Folders) -> None:
    put(folders, "clip-vit-l-14", "base40M", "base40M-textvec")
    with pytest.raises(CannotWrite, match="CLIP is needed by Point-E image 40M, Point-E text: delete those"):
        sets.delete("clip-vit-l-14", folders)
    assert weights.is_installed("clip-vit-l-14", folders)


def test_half_a_download_can_be_deleted_but_not_under_way(
    small: None, server: Server, folders: Folders
) -> None:
    server.faults = [bad.silent]
    process = in_another_process(folders)
    process.stdin.close()
    part = folders.user / "sdf.pt.127.0.0.1.part"
    wait_for(lambda: part.is_file() and part.stat().st_size > 0)
    with pytest.raises(CannotWrite, match="another Blender"):
        sets.delete("one", folders)
    process.kill()
    process.wait()
    assert sets.delete("one", folders) > 0
    assert sets.standings(folders)["one"].state == "missing"
