"""The service's real processes for tests: API, courier and scheduler, on SQLite or Debian's PostgreSQL, and a broker."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import httpx
import psycopg
import pytest
import redis

from med3d_cli.embedded.system import valkey_server
from med3d_client.worker import WorkerClient
from med3d_contract.work import PredictClaim, WorkerHello, WorkerIdentity
from med3d_service.processes import ensure_api_key, migrate
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.keys import load_keys
from med3d_service.storage.opening import open_database
from med3d_store.object_store import ObjectStore
from rig.processes.forked import READ_WHEN_PYTHON_STARTS, Forked
from rig.processes.waiting import wait_until
from rig.service.schema import lay_schema

START_TIMEOUT_S = 200.0
"""Many processes that start at once on a busy machine take their time."""


PORTS = range(20_000, 30_000)
"""Below those that Linux gives to whoever asks for any, as for the near end of each connection."""


def free_port() -> int:
    """A port for a server to come, which no other process of tests is told as long as this one runs.

    One that the kernel gave, and that was closed again, it may give to others before the server listens there. So who
    is told a port keeps a mark: an abstract socket of its name, which goes with the process, however that ends.
    """
    for turn in range(len(PORTS)):
        port = PORTS[(os.getpid() * 97 + turn) % len(PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return _marked(port)
    raise AssertionError("no port is free")


def _marked(port: int) -> int:
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0med3d-tests-port-{port}")
    except OSError:
        mark.close()
        raise
    mark.detach()  # nobody closes it
    return port


@contextmanager
def postgresql(certificates: Path | None = None, *, fsync: bool = False) -> Iterator[str]:
    """Debian's PostgreSQL on a free port, as user postgres; its URL. Skips where it cannot be.

    With ``certificates`` it takes TCP connections over TLS alone.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    if os.geteuid() != 0:
        pytest.skip("PostgreSQL is started as user postgres, which takes root")
    binaries, port = found[-1].parent, free_port()
    folder = Path(tempfile.mkdtemp(prefix="med3d-postgresql-"))
    shutil.chown(folder, "postgres", "postgres")
    account: dict[str, Any] = {"user": "postgres", "group": "postgres", "cwd": folder}
    subprocess.run(
        [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "med3d", "--auth=trust", "-E", "UTF8", "--no-sync"],
        check=True, stdout=subprocess.DEVNULL, **account,
    )  # fmt: skip
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    options += [] if fsync else ["-c", "fsync=off"]
    if certificates is not None:
        options += _tls_alone(folder, certificates)
    server = subprocess.Popen(
        [str(binaries / "postgres"), "-D", str(folder / "data"), "-p", str(port), *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **account,
    )  # fmt: skip
    try:
        ready = [str(binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-U", "med3d"]
        wait_until(
            lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, "PostgreSQL's start"
        )
        yield f"postgresql://med3d@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # fast shutdown
        server.wait(timeout=20)
        shutil.rmtree(folder)


def _tls_alone(folder: Path, certificates: Path) -> list[str]:
    for name in ("listener.pem", "listener.key"):
        shutil.copyfile(certificates / name, folder / name)
        shutil.chown(folder / name, "postgres", "postgres")
        (folder / name).chmod(0o600)
    (folder / "data" / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
    files = {"ssl_cert_file": folder / "listener.pem", "ssl_key_file": folder / "listener.key"}
    return ["-c", "ssl=on", *(word for name, path in files.items() for word in ("-c", f"{name}={path}"))]


def whole_lines(path: Path) -> list[str]:
    """The lines of a log that is being written: the last one may not have come to its end yet."""
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def contents_of(folder: Path) -> dict[Path, bytes]:
    """The bytes of each file below a folder in which processes are at work: what goes meanwhile is left out."""
    found = {}
    for below, _, names in os.walk(folder):
        for path in (Path(below, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file():
                    found[path] = path.read_bytes()
    return found


def new_database(url: str) -> str:
    """An empty database in a running PostgreSQL; its URL."""
    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return url.rsplit("/", 1)[0] + f"/{name}"


class Processes:
    """API, courier, scheduler and broker on one data folder. Each can be started, stopped and killed by name."""

    forked = False
    """Whether they are forks of one process that has imported the service; what is measured starts as elsewhere."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = int(environment.get("MED3D_PORT", 0)) or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.socket_dir = Path(tempfile.mkdtemp(prefix="med3d-"))  # the path of a socket must be short
        self.environment = {
            "MED3D_DATA_DIR": str(data_dir),
            "MED3D_PORT": str(self.port),
            "MED3D_BROKER_URL": f"redis+socket://{self.socket_dir}/broker.sock",
            **environment,
        }
        self.running: dict[str, subprocess.Popen[bytes] | Forked] = {}
        given: dict[str, Any] = {name.removeprefix("MED3D_").lower(): said for name, said in self.environment.items()}
        self.settings = Settings(**given)
        load_keys(self.settings)  # else the database that is laid below would be one whose key is missing
        lay_schema(self.settings)
        migrate(self.settings)
        self.store = ObjectStore.open(self.settings.store)
        self.key, self.worker_key, self.clinical_key = (self._key(scope) for scope in ("client", "worker", "clinical"))
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30)
        clinical = {"Authorization": f"Bearer {self.clinical_key}"}
        self.clinical = httpx.Client(base_url=self.url, headers=clinical, timeout=30)
        self.worker = WorkerClient(self.url, self.worker_key)

    def _key(self, scope: Literal["client", "worker", "clinical"]) -> str:
        ensure_api_key(self.settings, scope, self.data_dir / f"{scope}.key")
        return (self.data_dir / f"{scope}.key").read_text().strip()

    def start(self, *names: str) -> Self:
        """Start what is named and wait until it has started; where it does not, nothing is left."""
        try:
            for name in names:
                self.running[name] = self._begin(name)
            for name in names:
                if name == "api":
                    wait_until(self._answers, "the API's start", START_TIMEOUT_S)
                elif name != "broker":
                    wait_until(partial(self._has_started, name), f"the start of the {name}", START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        return self

    def _begin(self, name: str) -> subprocess.Popen[bytes] | Forked:
        environment, log = os.environ | self.environment, self.data_dir / f"{name}.log"
        log.write_bytes(b"")
        if name != "broker" and self.forked and not READ_WHEN_PYTHON_STARTS & self.environment.keys():
            return Forked(name, environment, log)
        command = [sys.executable, "-P", "-m", "med3d_service", name]
        if name == "broker":
            where = ("--unixsocket", str(self.socket_dir / "broker.sock"), "--dir", str(self.socket_dir))
            command = [str(valkey_server()), "--port", "0", "--save", "", *where]
        with log.open("ab") as written:
            return subprocess.Popen(command, env=environment, stdout=written, stderr=subprocess.STDOUT)

    def _has_started(self, name: str) -> bool:
        return any(line["event"] == f"{name}_started" for line in self.said(name))

    def said(self, name: str) -> list[dict[str, Any]]:
        """The lines that the process ``name`` has written to its log, each whole."""
        return [json.loads(line) for line in whole_lines(self.data_dir / f"{name}.log")]

    def _answers(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            assert self.running["api"].poll() is None, (self.data_dir / "api.log").read_text()
            return False

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; its exit code."""
        process = self.running.pop(name)
        process.send_signal(number)
        code: int = process.wait(timeout=60)
        return code

    def close(self) -> None:
        self.client.close()
        self.clinical.close()
        self.worker.close()
        for name in list(self.running):
            self.stop(name, signal.SIGKILL)
        shutil.rmtree(self.socket_dir, ignore_errors=True)  # closed before, where something did not start

    def hello(self, identity: WorkerIdentity) -> None:
        """Let a worker introduce itself, so that there is a bundle."""
        self.worker.hello(WorkerHello(worker=identity, queues=("preprocess", "predict", "publish")))

    def submit(self, *files: tuple[str, bytes], **fields: Any) -> httpx.Response:
        """POST /studies; the answer."""
        parts = [("files", (name, data)) for name, data in files]
        return self.client.post("/studies", files=parts, data={name: str(value) for name, value in fields.items()})

    def claim_predict(self, identity: WorkerIdentity, count: int) -> list[PredictClaim]:
        """Claim the predict stage of so many runs; PostgreSQL passes over what the dispatcher is marking just then."""
        claims: list[PredictClaim] = []

        def all_claimed() -> bool:
            claims.extend(self.worker.claim_predict(identity, count - len(claims)).claims)
            return len(claims) == count

        wait_until(all_claimed, f"{count} claims for prediction")
        return claims

    def run(self, run_id: str) -> Any:
        return self.client.get(f"/runs/{run_id}").raise_for_status().json()

    def study(self, study_id: str) -> Any:
        return self.client.get(f"/studies/{study_id}").raise_for_status().json()

    def working_copy(self, study_id: str) -> Any:
        """Wait until the courier is done with a study."""
        return wait_until(
            lambda: (found := self.study(study_id))["working_copy"] in {"ready", "refused"} and found,
            "the working copy",
        )

    def tasks(self, queue: str = "preprocess") -> int:
        """How many tasks lie in a queue, of all priorities."""
        with redis.Redis(unix_socket_path=f"{self.socket_dir}/broker.sock") as broker:
            return sum(broker.llen(queue if rank == 0 else f"{queue}:{rank}") for rank in range(10))

    def runs_in_queue(self, queue: str = "preprocess") -> list[str]:
        """The ids of the runs whose tasks lie in a queue."""
        with redis.Redis(unix_socket_path=f"{self.socket_dir}/broker.sock") as broker:
            told = [
                one for rank in range(10) for one in broker.lrange(queue if rank == 0 else f"{queue}:{rank}", 0, -1)
            ]
        return [json.loads(base64.b64decode(json.loads(one)["body"]))[0][0] for one in told]

    def open_database(self) -> Database:
        """Open it; whoever asked closes it."""
        return open_database(self.settings)
