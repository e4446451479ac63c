"""One address to one file: resumed after a cut, bounded in size and patience, stopped at any moment.

Plain HTTP from the standard library serves the official addresses and the Hugging Face Hub alike and, unlike
the Hub's own client, can be cancelled between two blocks: everything here that takes time is a generator.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import CannotWrite, DownloadFailed

Amount = tuple[int, int | None]  # bytes so far, and in all where the server says

TIMEOUT = 10.0  # seconds without a byte that end an attempt
STALL_SECONDS, STALL_BYTES = 30.0, 64 << 10  # so do fewer bytes than these in as many seconds
ATTEMPTS, PROGRESS = 4, 1 << 20  # attempts in a row that come less than these bytes further
PAUSE = 0.5  # seconds before the second attempt; each further pause is longer by as much
BLOCK = 1 << 20


class _Cut(Exception):
    """This attempt is over; another may go on where it ended."""


@dataclass(frozen=True)
class Download:
    """What lies at `url`, on its way to the file `part`.

    Attributes
    ----------
    part
        Kept whatever happens, except when its bytes are known to be of no use.
    at_most
        Bytes; a server that has more is not believed.
    hashed
        Whether the caller will check a hash, and so may go on with a file that the server gives no mark to
        recognise by.
    make_room
        Called with the bytes still to come and those of the whole file; raises `CannotWrite`.
    """

    url: str
    part: Path
    at_most: int
    hashed: bool
    make_room: Callable[[int, int], None]

    def run(self) -> Iterator[Amount]:
        """Bring the whole file, going on where an earlier run ended; closing the iterator cancels.

        Raises
        ------
        DownloadFailed, CannotWrite
        """
        failures = furthest = 0
        while True:
            try:
                yield from self._attempt()
                return
            except urllib.error.HTTPError as error:
                reason = f"the server answered {error.code} {error.reason}"
                error.close()
                if error.code == 416:  # the file is shorter by now than what was asked for
                    discard(self.part)
                elif error.code not in (408, 429) and error.code < 500:
                    raise self._failed(reason) from error
            except urllib.error.URLError as error:
                reason = str(error.reason)
            except (_Cut, http.client.HTTPException, OSError, ValueError) as error:
                reason = str(error) or type(error).__name__
            reached = _size(self.part)
            failures = 0 if reached >= furthest + PROGRESS else failures + 1
            furthest = max(furthest, reached)
            if failures == ATTEMPTS:
                raise self._failed(reason)
            end = time.monotonic() + PAUSE * failures
            while time.monotonic() < end:
                yield reached, None
                time.sleep(0.05)

    def _attempt(self) -> Iterator[Amount]:
        """One request and its body."""
        origin = self._resumable()
        done = _size(self.part) if origin else 0
        if origin and done == origin.total:
            return
        request = urllib.request.Request(self.url, headers={"User-Agent": "pointe_blender"})
        if origin and done:
            request.add_header("Range", f"bytes={done}-")
            if origin.validator is not None:
                request.add_header("If-Range", origin.validator)
        with _opener().open(request, timeout=TIMEOUT) as response:
            now = _Origin.of(self.url, response)
            if response.status == 206:
                start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
                if start != str(done) or now != origin:
                    discard(self.part)
                    raise _Cut("the file at the server has changed")
            elif response.headers.get_content_type() == "text/html":
                raise self._failed("the server answered with a web page")
            else:
                done = 0
            if now.total is not None and now.total > self.at_most:
                raise self._failed(f"it has {now.total:,} bytes where at most {self.at_most:,} are expected")
            whole = self.at_most if now.total is None else now.total
            self.make_room(whole - done, whole)
            try:
                if not done:
                    discard(self.part)  # before its bytes can be taken for the new file's
                now.write(self.part)
                file = FileIO(self.part, "ab" if done else "wb")
            except OSError as error:
                raise cannot_write(self.part, error) from error
            with file:
                done = yield from self._copy(response, file, done, now.total)
        if now.total is not None and done < now.total:
            raise _Cut(f"the connection was cut after {done:,} of {now.total:,} bytes")

    def _resumable(self) -> _Origin | None:
        """What the part file is the beginning of, where that is certain enough to go on with it."""
        origin = _Origin.read(self.part)
        if origin is None or origin.url != self.url:
            return None
        return origin if origin.validator is not None or self.hashed else None

    def _copy(
        self, response: http.client.HTTPResponse, file: FileIO, done: int, total: int | None
    ) -> Generator[Amount, None, int]:
        """Append the body to the part file and return the file's length."""
        since, then = time.monotonic(), done
        while True:
            yield done, total
            block = memoryview(response.read1(BLOCK))
            if not block:
                return done
            done += len(block)
            try:
                while block:  # a disk that fills up takes a part, and the rest meets the reason
                    block = block[file.write(block) :]
            except OSError as error:
                raise cannot_write(self.part, error) from error
            if done > self.at_most:
                discard(self.part)
                raise self._failed(f"the server does not stop after {self.at_most:,} bytes")
            if time.monotonic() - since >= STALL_SECONDS:
                if done - then < STALL_BYTES:
                    raise _Cut("the server sends next to nothing")
                since, then = time.monotonic(), done

    def _failed(self, reason: str) -> DownloadFailed:
        return DownloadFailed(
            f"Downloading {self.url} failed ({reason}): try again, what has arrived is kept."
        )


@dataclass(frozen=True)
class _Origin:
    """Which file a part file is the beginning of."""

    url: str
    validator: str | None
    total: int | None

    @classmethod
    def of(cls, url: str, response: http.client.HTTPResponse) -> _Origin:
        """What a response says of the whole file."""
        if response.status == 206:
            length = response.headers.get("Content-Range", "").rpartition("/")[2]
        else:
            length = response.headers.get("Content-Length", "")
        etag = response.headers.get("ETag", "")
        # A weak tag does not promise equal bytes, so it may not be sent with a range (RFC 9110, 13.1.5).
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
        return cls(url, validator, int(length) if length.isascii() and length.isdigit() else None)

    @classmethod
    def read(cls, part: Path) -> _Origin | None:
        """What an earlier attempt wrote; `None` where that is missing or unreadable."""
        try:
            return cls(**json.loads(_beside(part).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, part: Path) -> None:
        """Keep it beside the part file."""
        _beside(part).write_text(json.dumps(asdict(self)), encoding="utf-8")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect, but never from an encrypted address to an open one, nor out of HTTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            raise urllib.error.URLError(f"the server sends us on to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@cache
def _opener() -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    with suppress(ImportError):  # the Python inside Blender does not find every system's certificates
        import certifi

        context.load_verify_locations(certifi.where())
    return urllib.request.build_opener(_Redirects, urllib.request.HTTPSHandler(context=context))


def discard(part: Path) -> None:
    """Remove a part file and what is known about it."""
    part.unlink(missing_ok=True)
    _beside(part).unlink(missing_ok=True)


def cannot_write(path: Path, error: Exception) -> CannotWrite:
    """What to tell the user when `path` could not be written."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return CannotWrite(f"Cannot write {path} ({reason}): make room or choose another models folder.")


def _beside(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
