"""A real Orthanc with its DICOMweb plugin (Debian: orthanc, orthanc-dicomweb), on free ports and a folder of its own."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import pytest

from med3d_cli.processes import orthanc as orthanc_hook
from med3d_worker.process.tether import die_with_parent
from rig.processes.service import free_port
from rig.processes.waiting import wait_until

BINARY = Path("/usr/sbin/Orthanc")
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
HOOK_SCRIPT = Path(orthanc_hook.__file__).parent / "med3d.lua"
STABLE_AGE_S = 3
USER, PASSWORD = "med3d", "a-password-of-a-test"


class Orthanc:
    """Starts, stops and kills one Orthanc; its storage outlives a restart. ``rest`` speaks to its REST API.

    With ``certificates`` (a folder of rig.peers.dcmtk) it speaks DICOM over TLS alone, with who shows a certificate.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ae_title: str = "ORTHANC",
        lua: Sequence[str | Path] = (),
        environment: dict[str, str] | None = None,
        certificates: Path | None = None,
        **configuration: Any,
    ) -> None:
        if not BINARY.exists() or not DICOMWEB_PLUGIN.exists():
            pytest.skip("Orthanc is not installed (on Debian: apt-get install orthanc orthanc-dicomweb)")
        self.folder = Path(folder)
        self.ae_title = ae_title
        self.http_port, self.dicom_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.dicomweb_url = f"{self.url}/dicom-web"
        # Orthanc closes a connection that was idle for a second; a POST that meets the closing cannot be sent again.
        each_its_own = httpx.Limits(max_keepalive_connections=0)
        self.rest = httpx.Client(base_url=self.url, auth=(USER, PASSWORD), timeout=30, limits=each_its_own)
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = environment or {}
        self._lua = lua
        self._configuration = ({} if certificates is None else _tls(certificates)) | configuration

    def start(self, configured: Path | None = None) -> Self:
        """Start it, with its own settings or those in ``configured`` (a file or a folder); wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if configured is None:
            configured = self.folder / "orthanc.json"
            configured.write_text(json.dumps(self.settings(), indent=1))
        here = os.getpid()
        with (self.folder / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen(
                [BINARY, configured],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self._environment,
                preexec_fn=lambda: die_with_parent(here),  # noqa: PLW1509 - tests run on one thread
            )
        wait_until(self._answers, "Orthanc's start")
        return self

    def settings(self) -> dict[str, Any]:
        """Its configuration."""
        made = {
            "Name": "peer of a test",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [str(DICOMWEB_PLUGIN)],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.ae_title,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomAlwaysAllowStore": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "StableAge": STABLE_AGE_S,
            "LuaScripts": [str(script) for script in self._lua],
            "DicomModalities": {},
        }
        return made | self._configuration

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()[-2000:]
        try:
            return self.rest.get("/system").status_code == 200
        except httpx.TransportError:
            return False

    def log(self) -> str:
        """What it said."""
        return (self.folder / "orthanc.log").read_text(errors="replace")

    def stop(self) -> None:
        """End it as an operator would."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It keeps its connections and says nothing."""
        assert self.process is not None, "it does not run"
        suspended = psutil.Process(self.process.pid)
        suspended.suspend()
        try:
            yield
        finally:
            suspended.resume()

    def close(self) -> None:
        """Leave no process."""
        self.kill()
        self.rest.close()

    def add(self, *files: bytes) -> None:
        """Store DICOM files (bytes), as an upload in its explorer does."""
        for file in files:
            self.rest.post("/instances", content=file).raise_for_status()

    def studies(self) -> list[str]:
        """The StudyInstanceUIDs that it holds, in its own ids' order."""
        listed = self.rest.get("/studies", params={"expand": ""}).raise_for_status().json()
        return [study["MainDicomTags"]["StudyInstanceUID"] for study in listed]

    def instances(self, study_uid: str) -> list[str]:
        """Its ids of a study's instances."""
        found = self.rest.post("/tools/lookup", content=study_uid).raise_for_status().json()
        (study,) = [one["ID"] for one in found if one["Type"] == "Study"]
        return [one["ID"] for one in self.rest.get(f"/studies/{study}/instances").raise_for_status().json()]

    def is_stable(self, study_uid: str) -> bool:
        """Whether nothing came for a while, so that it has told of the study."""
        listed = self.rest.get("/studies", params={"expand": ""}).raise_for_status().json()
        (study,) = [one for one in listed if one["MainDicomTags"]["StudyInstanceUID"] == study_uid]
        return bool(study["IsStable"])

    def last_change(self) -> int:
        """The number of the last entry of its log of changes."""
        return int(self.rest.get("/changes", params={"last": ""}).raise_for_status().json()["Last"])

    def set_modality(self, name: str, ae_title: str, port: int, **more: Any) -> None:
        """Make a DICOM node known to it by name."""
        node = {"AET": ae_title, "Host": "127.0.0.1", "Port": port} | more
        self.rest.put(f"/modalities/{name}", json=node).raise_for_status()


def _tls(certificates: Path) -> dict[str, Any]:
    return {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificates / "listener.pem"),
        "DicomTlsPrivateKey": str(certificates / "listener.key"),
        "DicomTlsTrustedCertificates": str(certificates / "ca.pem"),
        "DicomTlsRemoteCertificateRequired": True,
    }
