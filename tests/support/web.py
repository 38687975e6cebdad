"""A web server on this machine that stands for the host of vocabularies."""

import contextlib
import http.server
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

_urlopen = urllib.request.urlopen


@dataclass
class Site:
    """What a server answers to every request, and which paths it was ``asked`` for.

    Of the body only the first ``sent`` bytes come; with ``part_seconds`` they come one by one, each after such a pause.
    """

    body: bytes = b""
    status: int = 200
    sent: int | None = None
    part_seconds: float = 0.0
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def downloads_from(site: Site, patch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Let each download of this process go to a site instead of the host that its address names."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            self.send_response(site.status)
            self.send_header("Content-Length", str(len(site.body)))
            self.end_headers()
            data = site.body[: site.sent]
            with contextlib.suppress(OSError):  # the reader may have had enough
                for part in [bytes([byte]) for byte in data] if site.part_seconds else [data]:
                    time.sleep(site.part_seconds)
                    self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, patch.context() as inner:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"

        def urlopen(asked: str, timeout: float) -> Any:
            return _urlopen(f"{address}/{asked.split('/', 3)[3]}", timeout=timeout)

        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            inner.delenv(variable, raising=False)
        inner.setattr(urllib.request, "_opener", None)
        inner.setattr(urllib.request, "urlopen", urlopen)
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
