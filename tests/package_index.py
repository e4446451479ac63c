"""A package index on this machine for the installer's tests, with real little wheels and a bad temper."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from pointe_blender.setup.packages import Wheel


def wheel_file(name: str, version: str, files: dict[str, str]) -> bytes:
    """A wheel as pip accepts it."""
    info = f"{name}-{version}.dist-info"
    members = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*members, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in (members | {f"{info}/RECORD": record}).items():
            archive.writestr(path, text)
    return buffer.getvalue()


class Index:
    """Simple indexes (PEP 503), each with a name. `fault` maps a file name to "cut", "other" or "stuck"."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.listed: dict[str, list[str]] = {}
        self.fault: dict[str, str] = {}
        self.served: list[str] = []
        self.stop = threading.Event()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = self.url_of("simple")

    def url_of(self, name: str) -> str:
        """The address of one index."""
        return f"http://127.0.0.1:{self.server.server_port}/{name}/"

    def add(
        self, name: str, version: str, files: dict[str, str], file: str = "", index: str = "simple"
    ) -> Wheel:
        """Publish a wheel; returns it as the pinned list would name it."""
        content = wheel_file(name.replace("-", "_"), version, files)
        file = file or f"{name}-{version}-py3-none-any.whl"
        self.files[file] = content
        self.listed.setdefault(index, []).append(file)
        unpacked = sum(member.file_size for member in zipfile.ZipFile(io.BytesIO(content)).infolist())
        own = "" if index == "simple" else self.url_of(index)
        return Wheel(name, version, file, len(content), unpacked, hashlib.sha256(content).hexdigest(), own)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Serve a project's page or a file, as badly as asked for."""
        *_, folder, name = unquote(request.path).rstrip("/").split("/")
        if folder != "files":
            stem = name.replace("-", "_") + "-"
            files = [file for file in self.listed.get(folder, ()) if file.lower().startswith(stem)]
            links = [f'<a href="/files/{file}">{file}</a>' for file in files]
            self.send(
                request, "text/html", f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
            )
            return
        self.served.append(name)
        content, fault = self.files[name], self.fault.get(name)
        if fault == "other":
            content = wheel_file(*name.split("-")[:2], {"evil.py": ""})
        self.send(request, "application/zip", content, half=fault in ("cut", "stuck"))
        if fault == "stuck":
            self.stop.wait(30)

    @staticmethod
    def send(request: BaseHTTPRequestHandler, kind: str, content: bytes, half: bool = False) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2] if half else content)
        request.wfile.flush()


@contextmanager
def serving() -> Iterator[Index]:
    """An index that answers as long as the block lasts."""
    index = Index()
    thread = threading.Thread(target=index.server.serve_forever)
    thread.start()
    try:
        yield index
    finally:
        index.stop.set()
        index.server.shutdown()
        index.server.server_close()
        thread.join()
