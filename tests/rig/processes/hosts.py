"""Hosts of their own on one machine: network namespaces on a bridge (ip-netns(8)), which takes root."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from med3d_cli.embedded.system import valkey_server
from rig.processes.waiting import wait_until

NETWORK = "10.213.7"
HERE = f"{NETWORK}.1"
POSTGRESQL_PORT, BROKER_PORT = 5432, 6379


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Host:
    """A network namespace with one address; it shares nothing with the others but the disk."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str | Path], log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start ``command`` on this host."""
        with log.open("ab") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *map(str, command)],
                env=os.environ | environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.running.append(process)
        return process

    def reaches(self, address: str, port: int) -> bool:
        probe = f"import socket; socket.create_connection(({address!r}, {port}), 1)"
        command = ["ip", "netns", "exec", self.name, "python3", "-c", probe]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def hosts(*names: str) -> Iterator[list[Host]]:
    """A host for each name, on one bridge with this machine (HERE). Skips where that cannot be."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces take root and iproute2 (on Debian: apt-get install iproute2)")
    mark = os.urandom(2).hex()
    bridge, made = f"m3d{mark}", []
    try:
        ip("link", "add", bridge, "type", "bridge")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network of one's own can be made here: {error.stderr.strip()}")
    try:
        ip("addr", "add", f"{HERE}/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number, name in enumerate(names, start=2):
            made.append(_host(f"m3d-{mark}-{name}", f"{NETWORK}.{number}", bridge, f"m3d{mark}{number}"))
        yield made
    finally:
        for host in made:
            for process in host.running:
                if process.poll() is None:
                    os.killpg(process.pid, 9)
                process.wait()
            ip("netns", "del", host.name)
        ip("link", "del", bridge)


def _host(name: str, address: str, bridge: str, cable: str) -> Host:
    ip("netns", "add", name)
    ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
    ip("link", "set", cable, "master", bridge, "up")
    ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
    ip("-n", name, "link", "set", "eth0", "up")
    ip("-n", name, "link", "set", "lo", "up")
    return Host(name, address)


@contextmanager
def data_host(host: Host, folder: Path) -> Iterator[tuple[str, str]]:
    """PostgreSQL and a broker on ``host``; their URLs as every other host knows them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    data = Path(tempfile.mkdtemp(prefix="med3d-postgresql-"))
    shutil.chown(data, "postgres", "postgres")
    binaries, as_postgres = found[-1].parent, ["runuser", "-u", "postgres", "--"]
    try:
        initdb = [
            str(binaries / "initdb"),
            "-D",
            str(data / "db"),
            "-U",
            "med3d",
            "--auth=trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run([*as_postgres, *initdb], check=True, capture_output=True, cwd=data)
        with (data / "db" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NETWORK}.0/24 trust\n")
        options = ["-c", f"listen_addresses={host.address}", "-c", f"unix_socket_directories={data}", "-c", "fsync=off"]
        host.start([*as_postgres, binaries / "postgres", "-D", data / "db", *options], folder / "postgresql.log")
        host.start(
            [
                valkey_server(),
                "--bind",
                host.address,
                "--port",
                str(BROKER_PORT),
                "--protected-mode",
                "no",
                "--save",
                "",
            ],
            folder / "broker.log",
        )
        for port in (POSTGRESQL_PORT, BROKER_PORT):
            wait_until(partial(host.reaches, host.address, port), f"port {port} of the data host")
        yield f"postgresql://med3d@{host.address}:{POSTGRESQL_PORT}/postgres", f"redis://{host.address}:{BROKER_PORT}/0"
    finally:
        for process in host.running:
            process.terminate()
            process.wait(20)
        shutil.rmtree(data)
