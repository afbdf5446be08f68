"""A Debian host for pages that are typed as root: its own network, processes, and copies of /etc, /var and /srv.

Made of namespaces over this machine's files (unshare(1), overlayfs), so what is typed there leaves nothing here. apt-get
and systemctl are stand-ins: one asks that packages are installed, the other starts Orthanc as its unit and drop-ins say.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from med3d_worker.process.tether import die_with_parent
from rig.processes.waiting import wait_until

WRITABLE = ("/etc", "/srv", "/var/lib/orthanc", "/var/log/orthanc")
SET_UP = """
mount -t tmpfs none /mnt
for d in {writable}; do
  mkdir -p /mnt/upper$d /mnt/work$d
  mount -t overlay none -o lowerdir=$d,upperdir=/mnt/upper$d,workdir=/mnt/work$d $d
done
chown orthanc:orthanc /var/lib/orthanc /var/log/orthanc
ip link set lo up
touch {ready}
exec sleep infinity
"""
APT_GET = """#!/bin/sh
for word in "$@"; do case $word in install|-*) ;; *) dpkg -s "$word" >/dev/null || exit 100;; esac; done
"""
SYSTEMCTL = """#!/usr/bin/python3
import os, re, subprocess, sys
from pathlib import Path

if sys.argv[1:] == ["daemon-reload"]:
    sys.exit()
verb, unit = sys.argv[1:]
texts = [Path(f"/lib/systemd/system/{unit}.service").read_text()]
texts += [one.read_text() for one in sorted(Path(f"/etc/systemd/system/{unit}.service.d").glob("*.conf"))]
said = dict(re.findall(r"^(User|ExecStart|EnvironmentFile)=(.*)$", "\\n".join(texts), re.M))
given = Path(said["EnvironmentFile"]).read_text().splitlines() if "EnvironmentFile" in said else []
running = Path("/var/log/orthanc/systemctl.pid")
if running.exists():
    os.kill(int(running.read_text()), 15)
command = ["runuser", "-u", said["User"], "--", *said["ExecStart"].split()]
environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | dict(line.split("=", 1) for line in given)
with open("/var/log/orthanc/systemctl", "ab") as log:
    quiet = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
    running.write_text(str(subprocess.Popen(command, env=environment, start_new_session=True, **quiet).pid))
"""


class DebianHost:
    """Started when made. ``shell`` runs a script there, ``begin`` leaves one running; ``close`` ends all of it."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0 or not Path("/usr/sbin/Orthanc").exists():
            pytest.skip(
                "a host of its own takes root and Orthanc (on Debian: apt-get install orthanc orthanc-dicomweb)"
            )
        self.folder = folder
        self._begun: list[subprocess.Popen[bytes]] = []
        (folder / "bin").mkdir()
        for name, script in (("apt-get", APT_GET), ("systemctl", SYSTEMCTL)):
            (folder / "bin" / name).write_text(script)
            (folder / "bin" / name).chmod(0o755)
        ready, here = folder / "ready", os.getpid()
        set_up = SET_UP.format(writable=" ".join(WRITABLE), ready=ready)
        apart = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
        self._holder: subprocess.Popen[str] = subprocess.Popen(
            ["unshare", *apart, "bash", "-euc", set_up],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: die_with_parent(here),  # noqa: PLW1509 - tests run on one thread
        )
        wait_until(lambda: ready.exists() or self._holder.poll() is not None, "the host's set-up")
        if self._holder.poll() is not None:
            pytest.skip(f"no host of its own can be made here: {self._said()}")
        (self._init,) = psutil.Process(self._holder.pid).children()

    def _said(self) -> str:
        assert self._holder.stderr is not None
        return self._holder.stderr.read().strip()

    def _command(self, script: str) -> list[str]:
        enter = ["nsenter", "--target", str(self._init.pid), "--mount", "--net", "--pid"]
        return [*enter, "bash", "-euo", "pipefail", "-c", f"cd {self.folder}\n{script}"]

    def _environment(self, **more: str) -> dict[str, str]:
        paths = (self.folder / "bin", Path(sys.executable).parent, "/usr/sbin", "/usr/bin", "/sbin", "/bin")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MED3D_", "XDG_"))}
        return kept | {"HOME": str(self.folder), "PATH": ":".join(map(str, paths)), "COLUMNS": "160"} | more

    def shell(self, script: str, timeout_s: float = 120, **environment: str) -> str:
        """What it said. Fails where the script does."""
        done = subprocess.run(
            self._command(script), env=self._environment(**environment), capture_output=True,
            text=True, check=False, timeout=timeout_s,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def begin(self, script: str, name: str, **environment: str) -> None:
        """Start a script that stays; what it says is in the file ``name``."""
        with (self.folder / name).open("wb") as log:
            self._begun.append(
                subprocess.Popen(self._command(script), env=self._environment(**environment), stdout=log, stderr=log)
            )

    def says(self, script: str, what: str, timeout_s: float = 120.0) -> str:
        """What a script says once it succeeds and says anything."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            done = subprocess.run(
                self._command(script), env=self._environment(), capture_output=True, text=True,
                check=False, timeout=60,
            )  # fmt: skip
            if done.returncode == 0 and done.stdout.strip():
                return done.stdout.strip()
            time.sleep(0.5)
        raise AssertionError(f"{what} did not happen within {timeout_s:g} s: {done.stdout} {done.stderr}")

    def close(self) -> None:
        self._init.kill()  # and the kernel ends all that ran below it
        for process in self._begun:
            process.wait(20)
        self._holder.wait(20)
        assert self._holder.stderr is not None
        self._holder.stderr.close()


def changed_configuration(package: str) -> list[str]:
    """The configuration files of an installed Debian package that are not as it brought them."""
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f=${Conffiles}\\n", package], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    files = (line.split()[:2] for line in listed if line.strip())
    return [path for path, md5 in files if hashlib.md5(Path(path).read_bytes()).hexdigest() != md5]
