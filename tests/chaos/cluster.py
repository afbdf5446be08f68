"""The service at scale on this machine: every process of its own, every line between two of them through a proxy.

A stand-in supervisor starts again what dies. Clocks of single processes can be set by libfaketime.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from med3d_cli.embedded.system import valkey_server
from med3d_service.processes import ensure_api_key, migrate
from med3d_service.settings import Settings
from med3d_service.storage.opening import open_database
from med3d_store.object_store import ObjectStore
from med3d_worker.process.tether import die_with_parent
from rig.peers.proxies import FaultyProxy
from rig.processes.service import START_TIMEOUT_S, free_port, new_database
from rig.processes.waiting import wait_until

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
TESTS = Path(__file__).parent.parent
SERVICE = ("api", "courier", "scheduler", "listener")
RESTART_S = 0.5
QUICK = {
    "MED3D_LEASE_S": "3",
    "MED3D_SWEEP_S": "0.2",
    "MED3D_REDISPATCH_S": "1",
    "MED3D_QUIET_S": "1",
    "MED3D_WORKER_SILENT_S": "8",
    "MED3D_LEDGER_EVERY_S": "0",
    "MED3D_RESERVE_BYTES": "1000000",
    "MED3D_DICOM_IDLE_S": "5",
}


class Postgres:
    """Debian's PostgreSQL on a folder and port of its own, which can be killed and started again. Syncs as by default."""

    def __init__(self):
        self.binaries = max(Path("/usr/lib/postgresql").glob("*/bin/initdb")).parent
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="med3d-postgresql-"))
        shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-D", self.folder / "data", "-U", "med3d", "--auth=trust", "-E", "UTF8", "--no-sync")

    def _run(self, name, *arguments):
        subprocess.run(
            [self.binaries / name, *arguments], check=True, stdout=subprocess.DEVNULL, user="postgres",
            group="postgres", cwd=self.folder,
        )  # fmt: skip

    def start(self):
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        here = os.getpid()
        with (self.folder / "postgres.log").open("ab") as log:
            return subprocess.Popen(
                [self.binaries / "postgres", "-D", self.folder / "data", "-p", str(self.port), *options],
                stdout=log, stderr=log, user="postgres", group="postgres", cwd=self.folder,
                preexec_fn=lambda: die_with_parent(here, signal.SIGQUIT),  # noqa: PLW1509 - it only asks the kernel
            )  # fmt: skip

    def is_ready(self):
        ready = [self.binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-U", "med3d"]
        return subprocess.run(ready, capture_output=True, check=False).returncode == 0

    def url(self, port=None):
        return f"postgresql://med3d@127.0.0.1:{port or self.port}/postgres"


class Cluster:
    """Start with ``start``; ``kill``, ``pause`` and the proxies do the harm, ``heal`` ends it."""

    def __init__(self, folder, *, postgres):
        self.folder = folder
        self.data_dir = folder / "data"
        self.clocks = Path(
            tempfile.mkdtemp(prefix="med3d-clocks-")
        )  # they are set while ``folder``'s disk is full, too
        for path in (self.data_dir, folder / "scratch", folder / "logs"):
            path.mkdir(parents=True)
        self._socket_dir = Path(tempfile.mkdtemp(prefix="med3d-"))
        self._port, self._dicom_port = free_port(), free_port()
        self.postgres = Postgres() if postgres else None
        self.proxies = {
            "client-api": FaultyProxy(self._port),
            "worker-api": FaultyProxy(self._port),
            "sender-listener": FaultyProxy(self._dicom_port),
            "service-broker": FaultyProxy(self._socket_dir / "broker.sock"),
            "worker-broker": FaultyProxy(self._socket_dir / "broker.sock"),
        }
        if self.postgres:
            self.proxies["service-database"] = FaultyProxy(self.postgres.port)
        self._processes, self._started_at, self._lock = {}, {}, threading.Lock()
        self._paused, self._stopping, self._watch = set(), threading.Event(), None
        self.client = self.database = None

    @property
    def names(self):
        """Every process that can be hurt; "worker child" is the one that works."""
        return ("broker", *SERVICE, "worker", "worker child", *(["postgres"] if self.postgres else []))

    # --- life ---

    def start(self):
        if self.postgres:
            self._start("postgres")
            wait_until(self.postgres.is_ready, "PostgreSQL's start", START_TIMEOUT_S)
            url = new_database(self.postgres.url())
            self._database_url = url
            through = url.replace(f":{self.postgres.port}/", f":{self.proxies['service-database'].port}/")
        self.environment = QUICK | {
            "MED3D_DATA_DIR": str(self.data_dir),
            "MED3D_PORT": str(self._port),
            "MED3D_DICOM_PORT": str(self._dicom_port),
            "MED3D_DICOM_ALLOWED": "*@127.0.0.1",
            "MED3D_BROKER_URL": f"redis://127.0.0.1:{self.proxies['service-broker'].port}/0",
            **({"MED3D_DATABASE_URL": through} if self.postgres else {}),
        }
        direct = {"MED3D_DATABASE_URL": self._database_url} if self.postgres else {}
        given = {name.removeprefix("MED3D_").lower(): value for name, value in (self.environment | direct).items()}
        self.settings = Settings(**given)
        migrate(self.settings)
        for kind in ("client", "worker"):
            ensure_api_key(self.settings, kind, self.data_dir / f"{kind}.key")
        self.store = ObjectStore.make(self.settings.store)
        self.database = open_database(self.settings)
        headers = {"Authorization": f"Bearer {(self.data_dir / 'client.key').read_text().strip()}"}
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.proxies['client-api'].port}", headers=headers, timeout=20.0
        )
        for name in ("broker", *SERVICE, "worker"):
            self._start(name)
        self._watch = threading.Thread(target=self._supervise, daemon=True)
        self._watch.start()
        wait_until(self.is_ready, "the start of the cluster", 300, every_s=0.5)
        return self

    def is_ready(self):
        with suppress(httpx.TransportError):
            return self.client.get("/readyz").status_code == 200
        return False

    def stop(self):
        """End every process and every line; the data stays."""
        self._stopping.set()
        if self._watch is not None:
            self._watch.join()
        self._resume()  # SIGQUIT waits for what is stopped
        for name in list(self._processes):
            self._signal_family(name, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()
        for proxy in self.proxies.values():
            proxy.close()

    def close(self):
        """Stop, and remove what lies outside of ``folder``."""
        self.stop()
        for opened in (self.client, self.database):
            if opened is not None:
                opened.close()
        for folder in (self._socket_dir, self.clocks):
            shutil.rmtree(folder, ignore_errors=True)
        if self.postgres:
            shutil.rmtree(self.postgres.folder, ignore_errors=True)

    def check_supervisor(self):
        """Raise AssertionError where nothing starts again what dies."""
        assert self._watch.is_alive(), "the stand-in supervisor has ended"

    def _start(self, name):
        if name == "postgres":
            self._processes[name] = self.postgres.start()
        else:
            with (self.folder / "logs" / f"{name}.log").open("ab") as log:
                here = os.getpid()
                self._processes[name] = subprocess.Popen(
                    self._command(name),
                    env=self._environment(name),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=lambda: die_with_parent(here),  # noqa: PLW1509 - it only asks the kernel
                )
        self._started_at[name] = time.monotonic()

    def _command(self, name):
        if name == "broker":
            given = ("--port", "0", "--save", "", "--unixsocket", self._socket_dir / "broker.sock")
            return [valkey_server(), *given, "--dir", self._socket_dir, "--loglevel", "warning"]
        if name == "worker":
            return [sys.executable, "-m", "rig.processes.quick_worker"]
        return [sys.executable, "-P", "-m", "med3d_service", name]

    def _environment(self, name):
        environment = os.environ | self.environment
        if name == "worker":
            environment |= {
                "PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), environment.get("PYTHONPATH")))),
                "MED3D_API_URL": f"http://127.0.0.1:{self.proxies['worker-api'].port}",
                "MED3D_BROKER_URL": f"redis://127.0.0.1:{self.proxies['worker-broker'].port}/0",
                "MED3D_STORE_URL": self.settings.store,
                "MED3D_WORKER_KEY_FILE": str(self.data_dir / "worker.key"),
                "MED3D_SCRATCH_DIR": str(self.folder / "scratch"),
                "MED3D_HEARTBEAT_S": "0.5",
            }
        if self.postgres and FAKETIME.exists() and name in (*SERVICE, "worker"):
            clock = self._clock(name)
            if not clock.exists():
                clock.write_text("+0\n")
            environment |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(clock),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "PYTHONPATH": os.pathsep.join(
                    filter(None, (str(TESTS / "rig/faults/clocks"), environment.get("PYTHONPATH")))
                ),
            }
        return environment

    def _supervise(self):
        while not self._stopping.wait(0.1):
            with self._lock:
                for name, process in list(self._processes.items()):
                    if process.poll() is None or time.monotonic() - self._started_at[name] < RESTART_S:
                        continue
                    if name != "postgres":
                        self._signal_family(name, signal.SIGKILL)
                    self._start(name)

    # --- harm ---

    def kill(self, name):
        """SIGKILL; what supervises starts it again."""
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            self._process(name).kill()

    def pause(self, name):
        """SIGSTOP, until ``heal``."""
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            process = self._process(name)
            process.suspend()
            self._paused.add(process)

    def set_clock(self, name, offset_s):
        """Let a process believe that it is ``offset_s`` later. The database's clock stays."""
        self._clock(name).write_text(f"{offset_s:+d}\n")

    def _clock(self, name):
        return self.clocks / name

    def heal(self):
        """End all harm that lasts."""
        self._resume()
        for proxy in self.proxies.values():
            proxy.heal()
        for clock in self.clocks.iterdir():
            clock.write_text("+0\n")

    def _resume(self):
        for process in self._paused:
            with suppress(psutil.NoSuchProcess):
                process.resume()
        self._paused.clear()

    def _process(self, name):
        with self._lock:
            process = psutil.Process(self._processes["worker" if name == "worker child" else name].pid)
        if name == "worker child":
            return next(iter(process.children()), process)
        return process

    def _signal_family(self, name, number):
        process = self._processes[name]
        if name == "postgres":
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGQUIT)
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
