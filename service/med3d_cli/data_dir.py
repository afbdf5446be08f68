"""The folder that `med3d serve` keeps everything in, and where other commands find the key and the address."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from med3d_cli.errors import CommandError

LONGEST_SOCKET_PATH = 100  # bytes; the kernel takes 107 (unix(7)), and the server adds nothing


def default_data_dir() -> Path:
    """Return $MED3D_DATA_DIR, else $XDG_DATA_HOME/med3d, else ~/.local/share/med3d."""
    if stated := os.environ.get("MED3D_DATA_DIR"):
        return Path(stated)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "med3d"


@dataclass(frozen=True)
class DataDir:
    """Names of what lies below ``root``."""

    root: Path

    @property
    def api_key_file(self) -> Path:
        """The key of this machine's user (mode 0600)."""
        return self.root / "api.key"

    @property
    def clinical_key_file(self) -> Path:
        """A key that may also see and search for what names a patient (mode 0600)."""
        return self.root / "clinical.key"

    @property
    def worker_key_file(self) -> Path:
        """The embedded worker's key (mode 0600)."""
        return self.root / "worker.key"

    @property
    def address_file(self) -> Path:
        """The URL of the service while it is ready."""
        return self.root / "address"

    @property
    def logs(self) -> Path:
        """One bounded log per process."""
        return self.root / "logs"

    @property
    def broker(self) -> Path:
        """The embedded broker's folder."""
        return self.root / "broker"

    @property
    def scratch(self) -> Path:
        """Unpacked studies while they are worked on."""
        return self.root / "scratch"

    @property
    def store_url(self) -> str:
        """The embedded object store."""
        return (self.root / "store").as_uri()

    def prepare(self) -> None:
        """Make the folders, for this user only. Raises CommandError where that is not possible."""
        try:
            for folder in (self.root, self.logs, self.broker, self.scratch):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise CommandError(f"the data folder {self.root} cannot be used: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold one service per folder: raises CommandError while another one holds it.

        Freed by the kernel at the end.
        """
        with (self.root / "serve.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise CommandError(
                    f"another `med3d serve` (process {holder}) uses {self.root}; stop it or choose another --data-dir"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    @contextmanager
    def broker_socket(self) -> Iterator[Path]:
        """Tell where the broker listens: in its folder, or where that path is too long in a short private one."""
        socket = self.broker / "valkey.sock"
        if len(os.fsencode(socket.absolute())) <= LONGEST_SOCKET_PATH:
            yield socket.absolute()
            return
        with tempfile.TemporaryDirectory(prefix="med3d-") as short:
            yield Path(short) / "valkey.sock"
