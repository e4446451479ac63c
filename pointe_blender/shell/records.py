"""The log of a batch, one JSON object in each line, from which a later run learns what is finished."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .items import Item


class Records:
    """What was made in a folder, by whichever share of a batch.

    Parameters
    ----------
    folder
        Of the batch; every `log*.jsonl` in it is read.
    log
        The name of the log that is written.
    """

    def __init__(self, folder: Path, log: str) -> None:
        self._folder, self._log = folder, folder / log
        self._made: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for path in sorted(folder.glob("log*.jsonl")):
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    entry = json.loads(line)
                    if entry["state"] == "done":
                        self._made[entry["name"], entry["digest"]] = entry["files"]
                except (ValueError, TypeError, KeyError):  # cut short by a kill, or somebody else's
                    continue

    def is_finished(self, item: Item, digest: str, names: Iterable[str]) -> bool:
        """Whether an item was made, as it is now, and all its files are still there and whole."""
        files = self._made.get((item.name, digest), [])
        return {file["name"] for file in files} >= set(names) and all(self._is_whole(file) for file in files)

    def done(self, item: Item, digest: str, names: Sequence[str], **further: Any) -> None:
        """Write that an item is finished, and which files of the folder are its own."""
        paths = [self._folder / name for name in names]
        listed = [
            {"name": name, "bytes": path.stat().st_size, "sha256": _sha256(path)}
            for name, path in zip(names, paths, strict=True)
        ]
        self._write(
            item.line, item.name, "done", _asked(item) | {"digest": digest} | further | {"files": listed}
        )

    def failed(self, line: int, name: str, error: str, **further: Any) -> None:
        """Write that something could not be made, and why."""
        self._write(line, name, "failed", further | {"error": error})

    def _is_whole(self, file: dict[str, Any]) -> bool:
        path = self._folder / file["name"]
        try:
            return bool(path.stat().st_size == file["bytes"] and _sha256(path) == file["sha256"])
        except OSError:
            return False

    def _write(self, line: int, name: str, state: str, rest: dict[str, Any]) -> None:
        """Append one line, in one piece."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"time": time, "line": line, "name": name, "state": state} | rest
        data = (json.dumps(entry, ensure_ascii=False) + "\n").encode()
        with open(self._log, "ab", buffering=0) as file:
            if file.tell() and not _ends_a_line(self._log):
                data = b"\n" + data  # what stands there was cut short by a kill
            if file.write(data) != len(data):
                raise OSError(f"{self._log.name} could not be written whole")


def _asked(item: Item) -> dict[str, Any]:
    """What the line asked for, without what it left to the models."""
    image = None if item.image is None else str(item.image)
    fields = ("prompt", "models", "seed", "count", "quality", "steps", "guidance", "resolution", "points")
    asked = {"image": image} | {field: getattr(item, field) for field in fields}
    return {field: value for field, value in asked.items() if value is not None}


def _ends_a_line(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
