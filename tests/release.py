"""A server on this machine in place of the release of published models, with a tiny network in place of theirs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch

from napari_fbrs.models.hrnet import HRNetArchitecture
from napari_fbrs.models.network import Architecture

NAME = "resnet34_dh128_sbd"
TINY = HRNetArchitecture(2, 3)


class Release(ThreadingHTTPServer):
    """Serves files from memory; counts what it is asked for."""

    block_on_close = False  # a connection whose other end has gone may still be waiting at the gate

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.missing = 0  # bytes that are announced and do not come
        self.announced = True
        self.gate = threading.Event()  # the second half of a file comes once it is open
        self.gate.set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Release

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        if self.server.announced:
            self.send_header("Content-Length", str(len(content or b"") + self.server.missing))
        self.end_headers()
        half = len(content or b"") // 2
        self.wfile.write((content or b"")[:half])
        self.server.gate.wait()
        self.wfile.write((content or b"")[half:])

    def log_message(self, *_: object) -> None:
        pass


def weights(path: Path, architecture: Architecture = TINY, **changes: torch.Tensor) -> bytes:
    """Return the file of a network as it is published; nothing stays at `path`."""
    torch.manual_seed(0)
    torch.save(architecture.build().state_dict() | changes, path)
    content = path.read_bytes()
    path.unlink()
    return content


@contextmanager
def served(scratch: Path) -> Iterator[Release]:
    """Serve the tiny network under the name of a published one."""
    with Release() as server:
        server.files[f"/{NAME}.pth"] = weights(scratch)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()
