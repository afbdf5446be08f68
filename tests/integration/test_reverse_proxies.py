"""deploy/proxy as nginx and Caddy read it: what comes through them to the API is whole, at once, and says who calls."""

import os
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from rig.peers import dcmtk
from rig.processes.service import free_port
from rig.processes.waiting import wait_until

PROXIES = Path(__file__).parents[2] / "deploy" / "proxy"
BODY = bytes(3_000_000)
"""More than nginx takes when it is not told."""


class Upstream(BaseHTTPRequestHandler):
    """In the API's place: says what reached it, and streams two events, the second when the first was read."""

    protocol_version = "HTTP/1.1"
    read_first = threading.Event()

    def do_POST(self):
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        said = f"{size} {self.headers['Host']} {self.headers['X-Forwarded-For']} {self.headers['X-Forwarded-Proto']}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in (b"first", b"second"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
            assert self.read_first.wait(20)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def upstream():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return dcmtk.certificates(tmp_path_factory.mktemp("certificates"))


def adapted(name, certificates, upstream, port):
    """The file with the places of this machine, each of which it must have."""
    text = (PROXIES / name).read_text()
    for there, here in (
        ("/etc/ssl/med3d/fullchain.pem", f"{certificates}/listener.pem"),
        ("/etc/ssl/med3d/key.pem", f"{certificates}/listener.key"),
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ("listen 443", f"listen 127.0.0.1:{port}") if name == "nginx.conf" else ("med3d.example.org:443", f"127.0.0.1:{port}"),
    ):  # fmt: skip
        assert there in text
        text = text.replace(there, here)
    return text


def nginx(folder, text):
    (folder / "site.conf").write_text(text)
    temporary = "".join(
        f"{one}_temp_path {folder}/{one};\n" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\n{temporary}include {folder}/site.conf;\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def caddy(folder, text):
    text = text.replace("admin off", "admin off\n\tauto_https disable_redirects")  # port 80 is not ours here
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


@pytest.fixture(params=[("nginx.conf", nginx), ("Caddyfile", caddy)], ids=["nginx", "caddy"])
def proxy(request, upstream, certificates, tmp_path):
    """A client of the running proxy, that trusts its certificate."""
    name, command_of = request.param
    port = free_port()
    command = command_of(tmp_path, adapted(name, certificates, upstream, port))
    program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"no {command[0]} (Debian: apt-get install {command[0]})")
    home = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(tmp_path))
    process = subprocess.Popen([program, *command[1:]], env=os.environ | home, stderr=subprocess.DEVNULL)
    trusting = ssl.create_default_context(cafile=certificates / "ca.pem")

    def answers():
        assert process.poll() is None
        try:
            return client.post("/", content=b"").status_code == 200
        except httpx.TransportError:
            return False

    with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trusting, timeout=30) as client:
        try:
            wait_until(answers, f"{command[0]}'s start")
            yield client
        finally:
            process.terminate()
            process.wait(timeout=20)


def test_a_study_a_caller_and_a_stream_come_through(proxy):
    forged = {"X-Forwarded-For": "10.9.9.9", "X-Forwarded-Proto": "http"}
    said = proxy.post("/studies", content=BODY, headers=forged).text
    assert said == f"{len(BODY)} {proxy.base_url.host}:{proxy.base_url.port} 127.0.0.1 https"
    Upstream.read_first.clear()
    with proxy.stream("GET", "/runs/x/events") as answer:
        pieces = answer.iter_bytes()
        assert next(pieces) == b"first"
        Upstream.read_first.set()
        assert b"".join(pieces) == b"second"
