"""A whole file of prompts: every line that is not finished yet, each in files of its own."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..pipeline.errors import MissingPackage, NoSurface, PointEError
from . import items, outputs
from .console import say, show
from .items import Item, Manner
from .prompts import BadLine
from .records import Records
from .shards import Shard

if TYPE_CHECKING:
    from ..pipeline.request import Request, Result
    from ..pipeline.weights import Folders


class Batch:
    """One run over a file of prompts, or over a share of it.

    Parameters
    ----------
    found, bad
        What `prompts.read` says.
    folder
        Takes the files and the log.
    manner
        What holds for every item.
    shard
        The share.
    folders
        Where weights lie and whether the network may be used.
    wrote
        Called with the items' own files and their preview, once they are there.
    """

    def __init__(
        self,
        found: Sequence[Item],
        bad: Sequence[BadLine],
        folder: Path,
        manner: Manner,
        shard: Shard,
        folders: Folders,
        wrote: Callable[[list[Path]], None],
    ) -> None:
        self._groups = shard.of(items.together(found))
        self._bad = [line for (line,) in shard.of([(line,) for line in bad])]
        self._folder, self._manner, self._folders, self._wrote = folder, manner, folders, wrote
        self._records = Records(folder, shard.log)
        self._total = len(self._bad) + sum(len(group) for group in self._groups)
        self._done = self._skipped = self._failed = 0
        self._seconds = 0.0

    def run(self) -> int:
        """Make what is missing; return how many could not be made.

        Raises
        ------
        MissingPackage
            Nothing can be made at all.
        """
        for line, reason in self._bad:
            self._fail(line, "", reason)
        try:
            for group in self._groups:
                began = time.perf_counter()
                if missing := self._missing(group):
                    self._make(group, missing)
                    self._seconds += time.perf_counter() - began
        finally:
            say(self.summary)
        return self._failed

    @property
    def summary(self) -> str:
        """What came of it, in one line."""
        each = f" in {self._seconds / self._done:.1f} s each" if self._done else ""
        return f"{self._done} done{each}, {self._skipped} finished before, {self._failed} failed"

    def _missing(self, group: Sequence[Item]) -> dict[Item, str]:
        """Those of a group that are not finished, with their digests."""
        missing = {}
        for item in group:
            try:
                digest = items.digest(item, self._manner)
            except OSError as error:
                reason = f"{item.image} cannot be read ({error.strerror}): choose another picture."
                self._fail(item.line, item.name, reason)
                continue
            if self._records.is_finished(item, digest, self._manner.style.names(item.stems, item.formats)):
                self._skipped += 1
            else:
                missing[item] = digest
        return missing

    def _make(self, group: Sequence[Item], missing: dict[Item, str]) -> None:
        """Make a group in one run, or one by one where that fails; keep what was missing."""
        began = time.perf_counter()
        try:
            request, result = self._generate(group)
        except MissingPackage:
            raise
        except Exception as error:
            for item, digest in missing.items():
                if len(group) > 1:
                    self._make([item], {item: digest})
                else:
                    self._fail(item.line, item.name, error)
            return
        seconds = (time.perf_counter() - began) / len(group)
        for item, digest in missing.items():
            made = result
            if len(group) > 1:
                made = outputs.variants(result, [result.seeds.index(item.seed)])
            try:
                files = self._keep(item, digest, request, made, seconds)
            except Exception as error:
                self._fail(item.line, item.name, error)
            else:
                self._tell(item, files, made, seconds)

    def _generate(self, group: Sequence[Item]) -> tuple[Request, Result]:
        """Everything of a group, whose first item has the first seed."""
        from .. import pipeline

        first, image, notice = group[0], None, ""
        if first.image is not None:
            from ..pipeline.pictures import load_image, prepare

            framed = prepare(load_image(first.image), first.models, self._manner.crop)
            image, notice = framed.image, framed.notice
        asked = first if len(group) == 1 else replace(first, count=len(group))
        request = items.request(asked, self._manner, image)
        *_, last = show(pipeline.generate(request, folders=self._folders), stages=False)
        assert last.result is not None
        result = replace(last.result, notice=" ".join(filter(None, (notice, last.result.notice))))
        if request.wants_mesh and not result.meshes:
            raise NoSurface(result.notice)
        return request, result

    def _keep(self, item: Item, digest: str, request: Request, result: Result, seconds: float) -> list[Path]:
        """Write an item's files and, after them, that it is finished."""
        style = self._manner.style
        files = outputs.save(result, request, self._folder, item.stems, item.formats, style)
        facts = {"notice": result.notice, "scores": result.scores, "seeds": result.seeds}
        told = {key: value for key, value in facts.items() if value}
        names = [path.relative_to(self._folder).as_posix() for path in files]
        self._records.done(item, digest, names, device=result.device, seconds=round(seconds, 2), **told)
        return files

    def _tell(self, item: Item, files: Sequence[Path], result: Result, seconds: float) -> None:
        """Say that an item is finished."""
        self._done += 1
        names = self._manner.style.names(item.stems, item.formats)
        self._wrote([path for path in files if path.name in names])
        note = f" ({result.notice})" if result.notice else ""
        say(f"[{self._position}/{self._total}] {item.name}: {seconds:.1f} s{note}")

    def _fail(self, line: int, name: str, error: Exception | str) -> None:
        """Tell, and write down, that something could not be made, and go on."""
        reason = str(error)
        if isinstance(error, Exception) and not isinstance(error, PointEError):
            traceback.print_exception(error)
            reason = (
                f"Something unexpected went wrong ({type(error).__name__}: {error}): report it if it stays."
            )
        self._failed += 1
        say(f"line {line}: {reason}")
        with suppress(OSError):  # the folder may be what is wrong
            self._records.failed(line, name, reason)

    @property
    def _position(self) -> int:
        return self._done + self._skipped + self._failed
