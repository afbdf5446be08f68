"""Who receives what goes out: dcmtk's storescp, a peer that fails as it is told, and a listener for webhooks."""

import json
import socket
import ssl
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event

from rig.processes.service import free_port
from rig.processes.waiting import wait_until

STORESCP = "/usr/bin/storescp"


class Storescp:
    """dcmtk's storescp on a free port; what it got lies in ``folder``."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        try:
            self.process = subprocess.Popen(
                [STORESCP, "--output-directory", self.folder, "--aetitle", "RECEIVER", str(self.port)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            pytest.skip("dcmtk is not installed (on Debian: apt-get install dcmtk)")
        wait_until(self._answers, "the start of storescp")
        return self

    def _answers(self) -> bool:
        echo = ["/usr/bin/echoscu", "-aec", "RECEIVER", "127.0.0.1", str(self.port)]
        return subprocess.run(echo, capture_output=True, check=False).returncode == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def received(self) -> list[Dataset]:
        """The data sets that it has."""
        return [dcmread(path) for path in self.folder.iterdir() if path.is_file()]

    def file_of(self, uid: str) -> Path:
        """The file of an instance."""
        return next(path for path in self.folder.iterdir() if uid in path.name)

    @property
    def table(self) -> str:
        return f'host = "127.0.0.1"\nport = {self.port}\nae_title = "RECEIVER"\ntimeout_s = 5\n'


@contextmanager
def syslog_over_tls(certificates: Path) -> Iterator[tuple[int, bytearray]]:
    """A syslog receiver: its port, and what it gets from one sender."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "listener.pem", certificates / "listener.key")
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)

        def receive() -> None:
            with suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True) as connection:
                while piece := connection.recv(65536):
                    received.extend(piece)

        receiving = threading.Thread(target=receive)
        receiving.start()
        yield listening.getsockname()[1], received
        receiving.join(30)


class MoodyPeer:
    """A C-STORE SCP that answers with the statuses in ``statuses``, then with success; it may be held."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = deque(statuses)
        self.got: list[Any] = []
        self.hold = threading.Event()
        self.hold.set()
        self.entity = AE(ae_title="RECEIVER")
        self.entity.supported_contexts = AllStoragePresentationContexts
        self.server = self.entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        assert self.server is not None
        self.port = self.server.server_address[1]

    def _store(self, event: Event) -> int:
        assert isinstance(event.request, C_STORE)
        self.got.append(event.request.AffectedSOPInstanceUID)
        self.hold.wait(30)
        return self.statuses.popleft() if self.statuses else 0x0000

    def stop(self) -> None:
        self.hold.set()
        assert self.server is not None
        self.server.shutdown()
        self.server.server_close()

    @property
    def table(self) -> str:
        return f'host = "127.0.0.1"\nport = {self.port}\nae_title = "RECEIVER"\ntimeout_s = 20\n'


class WebhookListener:
    """Keeps what it is POSTed; answers with the statuses in ``statuses``, then with 204."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = deque(statuses)
        self.calls: list[Any] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.calls.append((dict(self.headers), body))
                self.send_response(listener.statuses.popleft() if listener.statuses else 204)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/events"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.calls]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
