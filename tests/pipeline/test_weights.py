"""Weights arrive whole or not at all from a server that does its worst, and are what their name says."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pointe_blender.pipeline import convert, download, models, store, weights
from pointe_blender.pipeline.errors import (
    CannotWrite,
    DamagedModel,
    DownloadFailed,
    MissingModel,
    NotOnline,
)
from pointe_blender.pipeline.weights import Folders
from tests.pipeline import server as bad
from tests.pipeline.checkpoints import (
    equal,
    fetch,
    in_another_process,
    random_state,
    sdf,
    sdf_file,
    torch_file,
    wait_for,
)
from tests.pipeline.server import Server

HALF = 19_000_000  # about half of sdf.pt
NARROW = "encoder_input_proj.weight"


def kept(folders: Folders) -> list[str]:
    """The files in the models folder, locks aside."""
    return sorted(path.name for path in folders.user.glob("*") if path.name != ".locks")


def ranges(server: Server) -> list[str | None]:
    """The ranges asked for."""
    return [seen.range for seen in server.seen]


# Fetching


def test_a_checkpoint_is_fetched_converted_and_loaded(server: Server, folders: Folders) -> None:
    assert not weights.is_installed("sdf", folders)
    amounts = list(weights.fetching("sdf", folders))
    assert weights.is_installed("sdf", folders)

    assert kept(folders) == ["sdf.safetensors"]
    assert equal(load_file(folders.user / "sdf.safetensors"), sdf())
    assert amounts == sorted(amounts) and len(amounts) > 10
    assert amounts[-1] == (len(sdf_file()), len(sdf_file()))

    network = weights.load("sdf", "cpu", folders)
    assert equal(dict(network.state_dict()), sdf())
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_what_is_installed_is_not_fetched_again(server: Server, folders: Folders) -> None:
    fetch("sdf", folders)
    fetch("sdf", folders)
    assert len(server.seen) == 1


def test_a_checkpoint_may_lie_deeper_in_its_file(server: Server, folders: Folders) -> None:
    state = random_state("pointnet")
    training = {"epoch": 3, "instance_acc": np.float64(0.9), "optimizer": {"step": torch.tensor(5)}}
    server.files["pointnet.pt"] = torch_file({**training, "model_state_dict": state})
    fetch("pointnet", folders)
    loaded = weights.load_state("pointnet", folders)
    assert equal(loaded, state)
    assert loaded["bn1.num_batches_tracked"].dtype == torch.int64


def test_a_cut_download_goes_on_where_it_was(server: Server, folders: Folders) -> None:
    server.faults = [bad.cut(HALF), bad.cut(5_000_000)]
    fetch("sdf", folders)
    assert ranges(server) == [None, f"bytes={HALF}-", f"bytes={HALF + 5_000_000}-"]
    assert equal(weights.load_state("sdf", folders), sdf())


def test_a_cancelled_download_goes_on_next_time(server: Server, folders: Folders) -> None:
    with closing(weights.fetching("sdf", folders)) as amounts:
        done = next(done for done, _ in amounts if done > 10_000_000)
    assert not weights.is_installed("sdf", folders)
    fetch("sdf", folders)
    assert ranges(server) == [None, f"bytes={done}-"]
    assert equal(weights.load_state("sdf", folders), sdf())


def test_a_killed_download_goes_on_next_time(server: Server, folders: Folders) -> None:
    server.faults = [bad.silent]
    process = in_another_process(folders)
    process.stdin.close()
    part = folders.user / "sdf.pt.127.0.0.1.part"
    wait_for(lambda: part.is_file() and part.stat().st_size == len(sdf_file()) // 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not weights.is_installed("sdf", folders)

    fetch("sdf", folders)
    assert server.seen[-1].range == f"bytes={len(sdf_file()) // 2}-"
    assert equal(weights.load_state("sdf", folders), sdf())


def test_two_processes_download_once(server: Server, folders: Folders) -> None:
    def slow(handler: bad.Handler, body: bytes) -> None:
        time.sleep(0.5)
        bad.answer(handler, body)

    server.faults = [slow, slow]
    processes = [in_another_process(folders) for _ in range(2)]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.close()
    assert [process.wait() for process in processes] == [0, 0]
    assert [seen.status for seen in server.seen] == [200]
    assert equal(weights.load_state("sdf", folders), sdf())


def test_a_server_without_ranges_begins_again(server: Server, folders: Folders) -> None:
    server.faults = [bad.cut(HALF), bad.lying(ranges=False)]
    fetch("sdf", folders)
    assert [seen.status for seen in server.seen] == [200, 200]
    assert equal(weights.load_state("sdf", folders), sdf())


def test_a_file_that_changed_is_not_glued_to_the_old_one(server: Server, folders: Folders) -> None:
    server.faults = [bad.cut(HALF)]
    with closing(weights.fetching("sdf", folders)) as amounts:
        next(done for done, _ in amounts if done == HALF)
    server.files["sdf.pt"] = sdf_file(1)
    fetch("sdf", folders)
    assert equal(weights.load_state("sdf", folders), sdf(1))


def test_a_changed_file_is_noticed_though_the_server_says_nothing(server: Server, folders: Folders) -> None:
    def blind(handler: bad.Handler, body: bytes) -> None:
        del handler.headers["If-Range"]
        bad.answer(handler, sdf_file(1))

    server.faults = [bad.cut(HALF), blind, blind]
    fetch("sdf", folders)
    assert [seen.status for seen in server.seen] == [200, 206, 200]
    assert equal(weights.load_state("sdf", folders), sdf(1))


def test_without_a_tag_only_a_file_of_known_hash_goes_on(
    server: Server, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults = [bad.cut(HALF, etag=None), bad.lying(etag=None)]
    fetch("sdf", folders)
    assert ranges(server) == [None, None]

    (folders.user / "sdf.safetensors").unlink()
    describe(monkeypatch, sha256=hashlib.sha256(sdf_file()).hexdigest())
    server.faults = [bad.cut(HALF, etag=None), bad.lying(etag=None)]
    fetch("sdf", folders)
    assert ranges(server) == [None, None, None, f"bytes={HALF}-"]


def test_trouble_that_passes_is_waited_for(server: Server, folders: Folders) -> None:
    server.faults = [bad.status(503), bad.status(429), bad.cut(0)]
    fetch("sdf", folders)
    assert [seen.status for seen in server.seen] == [503, 429, 200, 200]


def test_a_redirect_is_followed_within_http(server: Server, folders: Folders) -> None:
    server.faults = [bad.redirect(f"{server.address}/elsewhere/sdf.pt")]
    fetch("sdf", folders)
    assert weights.is_installed("sdf", folders)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (bad.status(404), "404"),
        (bad.status(500), "500"),
        (bad.web_page, "web page"),
        (bad.endless, "does not stop"),
        (bad.dripping, "next to nothing"),
        (bad.silent, "timed out"),
        (bad.lying(length=38_500_000), "cut|416"),
        (bad.lying(length=10**15), "expected"),
        (bad.redirect("ftp://127.0.0.1/sdf.pt"), "sends us on to ftp"),
        (bad.redirect("/models/sdf.pt"), "redirect|infinite loop"),
    ],
)
def test_a_failing_server_is_named_and_nothing_installed(
    server: Server, folders: Folders, monkeypatch: pytest.MonkeyPatch, fault: bad.Fault, says: str
) -> None:
    if fault is bad.silent:
        monkeypatch.setattr(download, "TIMEOUT", 0.3)
    if fault is bad.dripping:
        monkeypatch.setattr(download, "STALL_SECONDS", 0.1)
    server.faults = [fault] * 50
    with pytest.raises(DownloadFailed, match=says) as caught:
        fetch("sdf", folders)
    assert server.address in str(caught.value) and "try again" in str(caught.value)
    assert not weights.is_installed("sdf", folders)
    assert len(server.seen) < 20


def test_nobody_answers(server: Server, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTE_SOURCE", "http://127.0.0.1:9")
    with pytest.raises(DownloadFailed, match="refused"):
        fetch("sdf", folders)


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda: sdf_file()[:HALF], "not a whole file of weights"),
        (lambda: b"", "not a whole file of weights"),
        (lambda: b"<html>no type given</html>", "not a whole file of weights"),
        (lambda: b"PK\x03\x04" + bytes(100_000), "not a whole file of weights"),
        (lambda: torch_file([1, 2]), "not a whole file of weights"),
        (
            lambda: torch_file({**sdf(), NARROW: torch.ones(128, 3)}),
            r"real \(128, 3\) where sdf has real \(256, 3\)",
        ),
        (lambda: torch_file(dict(list(sdf().items())[:-1])), "output_proj.bias is missing"),
        (lambda: torch_file({**sdf(), "extra": torch.ones(1)}), "extra does not belong"),
        (lambda: torch_file({**sdf(), "ln_post.bias": torch.ones(256).int()}), r"whole \(256,\)"),
        (lambda: torch_file({**sdf(), "ln_post.bias": "words"}), "ln_post.bias is str"),
    ],
    ids=["truncated", "empty", "page", "zip", "list", "smaller", "less", "more", "whole", "words"],
)
def test_a_wrong_file_is_thrown_away(
    server: Server, folders: Folders, content: Callable[[], bytes], says: str
) -> None:
    server.faults = [bad.other_file(content())]
    with pytest.raises(DamagedModel, match=says) as caught:
        fetch("sdf", folders)
    assert "as sdf" in str(caught.value) and "download the model again" in str(caught.value)
    assert kept(folders) == []


def test_a_program_among_the_weights_is_not_run(server: Server, folders: Folders, tmp_path: Path) -> None:
    server.files["sdf.pt"] = torch_file({**sdf(), "extra": Malice(tmp_path / "owned")})
    with pytest.raises(DamagedModel, match="more than weights"):
        fetch("sdf", folders)
    assert not (tmp_path / "owned").exists()


def test_a_file_of_another_hash_is_thrown_away(
    server: Server, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(monkeypatch, sha256=hashlib.sha256(sdf_file()).hexdigest())
    server.faults = [bad.other_file(sdf_file(1))]
    with pytest.raises(DamagedModel, match="hash"):
        fetch("sdf", folders)
    assert kept(folders) == []
    fetch("sdf", folders)
    assert weights.is_installed("sdf", folders)


def test_the_hub_is_asked_when_the_official_address_fails(
    server: Server, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(monkeypatch, urls=(f"{server.address}/official/sdf.pt",))
    monkeypatch.delenv("POINTE_SOURCE")
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    server.faults = [bad.status(404)]
    fetch("sdf", folders)
    hub = "/models/spaces/MirageML/point-e/resolve/main/point_e_model_cache/sdf.pt"
    assert [seen.path for seen in server.seen] == ["/models/official/sdf.pt", hub]

    (folders.user / "sdf.safetensors").unlink()
    server.faults = [bad.status(404), bad.status(403)]
    with pytest.raises(DownloadFailed, match=r"404.*403"):
        fetch("sdf", folders)


def test_without_a_network_the_user_is_told_what_to_bring(server: Server, folders: Folders) -> None:
    with pytest.raises(NotOnline) as caught:
        fetch("sdf", replace(folders, online=False))
    for part in (f"{server.address}/sdf.pt", str(folders.user)):
        assert part in str(caught.value)
    assert not server.seen and not folders.user.exists()


# Disks


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses to let a file grow beyond `size` bytes, as a full disk does."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_disk_that_fills_up_loses_nothing(server: Server, folders: Folders) -> None:
    with files_of_at_most(HALF), pytest.raises(CannotWrite, match="make room") as caught:
        fetch("sdf", folders)
    assert str(folders.user) in str(caught.value)
    assert not weights.is_installed("sdf", folders)
    fetch("sdf", folders)
    assert server.seen[-1].range == f"bytes={HALF}-"
    assert equal(weights.load_state("sdf", folders), sdf())


def test_a_disk_that_fills_up_while_converting(tmp_path: Path) -> None:
    source, target = tmp_path / "sdf.pt", tmp_path / "sdf.safetensors"
    source.write_bytes(sdf_file())
    with files_of_at_most(HALF), pytest.raises(CannotWrite, match="make room"):
        list(convert.converting(source, target, models.CHECKPOINTS["sdf"], {}))
    assert [path.name for path in tmp_path.iterdir()] == ["sdf.pt"]


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Folders]:
    """A disk of its own, in memory."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    try:
        yield Folders(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_too_small_is_not_filled(server: Server, tmp_path: Path) -> None:
    with disk(tmp_path / "small", "size=60m") as folders:
        with pytest.raises(CannotWrite, match=r"needs 14\d MB .* 6\d MB are left"):
            fetch("sdf", folders)
        assert kept(folders) == []


def test_a_disk_that_is_read_only(server: Server, tmp_path: Path) -> None:
    with disk(tmp_path / "sealed", "ro") as folders:
        with pytest.raises(CannotWrite, match="choose another models folder"):
            fetch("sdf", folders)
        assert not server.seen


@pytest.mark.parametrize("place", ["file", "/proc/self"])
def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / place / "models"
    with pytest.raises(CannotWrite, match="choose another models folder") as caught:
        fetch("sdf", Folders(folder))
    assert str(folder) in str(caught.value)
    assert not server.seen


# The user's own files


def test_a_file_of_the_users_is_converted_once(folders: Folders, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    file = own / "sdf.pt"
    file.write_bytes(sdf_file())
    folders = replace(folders, extra=(own,), online=False)
    assert weights.is_installed("sdf", folders)

    assert equal(weights.load_state("sdf", folders), sdf())
    assert not list(weights.fetching("sdf", folders))
    copy = folders.user / "sdf.own.safetensors"
    first = copy.stat().st_mtime_ns
    assert equal(weights.load_state("sdf", folders), sdf())
    assert copy.stat().st_mtime_ns == first
    assert file.read_bytes() == sdf_file() and list(own.iterdir()) == [file]

    file.write_bytes(sdf_file(1))
    assert equal(weights.load_state("sdf", folders), sdf(1))


def test_a_file_put_into_the_models_folder_by_hand(folders: Folders) -> None:
    folders.user.mkdir()
    (folders.user / "sdf.pt").write_bytes(sdf_file())
    assert equal(weights.load_state("sdf", replace(folders, online=False)), sdf())


def test_the_users_own_safetensors_come_first(folders: Folders, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    folders.user.mkdir()
    save_file(sdf(), folders.user / "sdf.safetensors")
    save_file(sdf(1), own / "sdf.safetensors")
    assert equal(weights.load_state("sdf", replace(folders, extra=(own,))), sdf(1))
    assert kept(folders) == ["sdf.safetensors"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_weights_are_loaded_in_the_precision_asked_for(folders: Folders, precision: str) -> None:
    folders.user.mkdir()
    save_file(sdf(), folders.user / "sdf.safetensors")
    dtype = getattr(torch, precision)
    state = weights.load("sdf", "cpu", folders, precision).state_dict()
    products = {name for name in state if re.search(r"resblocks\.\d+\.(attn|mlp)", name)}
    assert len(products) == 8 * 8 + 4 * 10
    for name, value in state.items():
        expected = sdf()[name].to(dtype if name in products else torch.float32)
        assert value.dtype == expected.dtype and torch.equal(value, expected)


def test_float32_weights_stay_in_the_mapped_file(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.user.mkdir()
    save_file(sdf(), folders.user / "sdf.safetensors")
    mapped = weights.load_state("sdf", folders)
    monkeypatch.setattr(weights, "load_state", lambda *_: dict(mapped))
    network = weights.load("sdf", "cpu", folders)
    assert all(value.data_ptr() == mapped[name].data_ptr() for name, value in network.state_dict().items())


def test_a_missing_model_is_named(folders: Folders) -> None:
    with pytest.raises(MissingModel, match=f"base300M.*base_300m.pt into {folders.user}"):
        weights.load("base300M", "cpu", folders)


def test_an_installed_file_that_is_damaged_is_named(folders: Folders) -> None:
    folders.user.mkdir()
    path = folders.user / "sdf.safetensors"
    save_file(sdf(), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedModel, match="delete it and download") as caught:
        weights.load("sdf", "cpu", folders)
    assert str(path) in str(caught.value)


def test_packaged_weights_are_half_precision_on_disk_only(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "STARTER", tmp_path)
    with pytest.raises(MissingModel, match="install the extension again"):
        fetch("starter-sdf", folders)
    state = {key: value.half() for key, value in random_state("starter-sdf").items()}
    save_file(state, tmp_path / "sdf.safetensors")
    assert equal(weights.load_state("starter-sdf", folders), state)
    loaded = weights.load("starter-sdf", "cpu", folders).state_dict()
    assert {value.dtype for value in loaded.values()} == {torch.float32}
    assert equal(loaded, {key: value.float() for key, value in state.items()})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_only_the_published_torchscript_archive_is_opened(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = models.build("sdf")
    network.load_state_dict(sdf())
    network.register_buffer("input_resolution", torch.tensor(224))
    network = network.half().float().eval().requires_grad_(False)
    archive = torch.jit.trace(network, (torch.ones(1, 3, 2), torch.ones(1, 3, 2)))
    folders.user.mkdir()
    archive.save(folders.user / "sdf.pt")
    with pytest.raises(DamagedModel, match="TorchScript"):
        weights.load_state("sdf", folders)
    published = hashlib.sha256((folders.user / "sdf.pt").read_bytes()).hexdigest()
    describe(monkeypatch, sha256=published)
    loaded = weights.load_state("sdf", folders)
    assert all(torch.equal(loaded[key], sdf()[key].half().float()) for key in sdf())


def test_the_default_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert weights.default_folders().user.parts[-2:] == ("pointe_blender", "models")
    monkeypatch.setenv("POINTE_MODELS", str(tmp_path))
    assert weights.default_folders() == Folders(tmp_path)


def describe(monkeypatch: pytest.MonkeyPatch, **facts: object) -> None:
    """Let the catalogue say something else about the sdf network."""
    checkpoint = replace(models.CHECKPOINTS["sdf"], **facts)  # type: ignore[arg-type]
    monkeypatch.setitem(models.CHECKPOINTS, "sdf", checkpoint)
