"""A real HTTP server on 127.0.0.1 that misbehaves when told to."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self


class Seen(NamedTuple):
    """What a client asked for."""

    path: str
    range: str | None
    status: int


class Handler(BaseHTTPRequestHandler):
    """One request: the file as it is, or with the next fault in line."""

    protocol_version = "HTTP/1.1"
    server: _HTTPServer
    status = 0

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        owner = self.server.owner
        self.close_connection = True
        with suppress(ConnectionError):
            if owner.faults:
                owner.faults.pop(0)(self, owner.files.get(name, b""))
            elif name in owner.files:
                answer(self, owner.files[name])
            else:
                status(404)(self, b"")
        owner.seen.append(Seen(self.path, self.headers["Range"], self.status))

    def head(self, code: int, **headers: object) -> None:
        """Send status and headers; underscores become hyphens."""
        self.status = code
        self.send_response(code)
        for key, value in {**headers, "Connection": "close"}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


Fault = Callable[[Handler, bytes], None]


def answer(
    handler: Handler,
    body: bytes,
    *,
    upto: int | None = None,
    ranges: bool = True,
    etag: str | None = "",
    length: int | None = None,
) -> None:
    """A good answer: ranges, a tag that changes with the bytes; or less of each.

    Parameters
    ----------
    upto
        Close the connection after these bytes of the body.
    ranges
        Whether ranges are honoured.
    etag
        The tag; empty: a true one; `None`: none.
    length
        A Content-Length that may be wrong.
    """
    tag = f'"{zlib.crc32(body)}"' if etag == "" else etag
    asked, condition = handler.headers["Range"], handler.headers["If-Range"]
    start = 0
    if asked and ranges and condition in (None, tag):
        start = int(asked.removeprefix("bytes=").rstrip("-"))
    headers: dict[str, object] = {"Content_Type": "application/octet-stream"}
    if tag is not None:
        headers["ETag"] = tag
    if start >= len(body) > 0:
        return handler.head(416, Content_Length=0)
    if start:
        headers["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
    whole = len(body) - start if length is None else length
    handler.head(206 if start else 200, Content_Length=whole, **headers)
    handler.wfile.write(body[start:] if upto is None else body[start : start + upto])


def cut(upto: int, **less: object) -> Fault:
    """Close the connection after `upto` bytes of the body."""
    return lambda handler, body: answer(handler, body, upto=upto, **less)  # type: ignore[arg-type]


def lying(**less: object) -> Fault:
    """Answer with less than the truth, see `answer`."""
    return lambda handler, body: answer(handler, body, **less)  # type: ignore[arg-type]


def status(code: int) -> Fault:
    """An error."""

    def fault(handler: Handler, body: bytes) -> None:
        handler.head(code, Content_Length=0)

    return fault


def web_page(handler: Handler, body: bytes) -> None:
    """A hotel's login page."""
    page = b"<!doctype html><title>Welcome to the hotel</title>"
    handler.head(200, Content_Type="text/html; charset=utf-8", Content_Length=len(page))
    handler.wfile.write(page)


def other_file(content: bytes, **less: object) -> Fault:
    """Answer with other bytes."""
    return lambda handler, body: answer(handler, content, **less)  # type: ignore[arg-type]


def redirect(address: str) -> Fault:
    """Send the client elsewhere."""
    return lambda handler, body: handler.head(302, Location=address, Content_Length=0)


def endless(handler: Handler, body: bytes) -> None:
    """Bytes and no end of them."""
    handler.head(200, Content_Type="application/octet-stream")
    while True:
        handler.wfile.write(bytes(1 << 20))


def dripping(handler: Handler, body: bytes) -> None:
    """A byte now and then."""
    handler.head(200, Content_Type="application/octet-stream", Content_Length=len(body), ETag='"drip"')
    for i in range(1000):
        handler.wfile.write(body[i : i + 1])
        handler.wfile.flush()
        time.sleep(0.02)


def silent(handler: Handler, body: bytes) -> None:
    """Half of the body, then nothing on an open connection."""
    handler.head(200, Content_Type="application/octet-stream", Content_Length=len(body), ETag='"silent"')
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    handler.server.owner.closing.wait(30)


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    owner: Server


class Server:
    """Files by name; each request takes the next of `faults`, or the file as it is when there is none.

    Attributes
    ----------
    address
        Folder of all files.
    seen
        What was asked for so far.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self._http = _HTTPServer(("127.0.0.1", 0), Handler)
        self._http.owner = self
        self.address = f"http://127.0.0.1:{self._http.server_port}/models"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
