"""The listener as a process of its own, and what it has in store and database."""

import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import select

from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import load_keys
from med3d_service.storage.sealed import SealBrokenError, SealedReader
from med3d_service.studies.original_names import original_name, upload_of
from rig.processes.service import Processes, free_port


class Listening(Processes):
    """Only the listener is started: nothing else is needed to take instances."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.dicom_port = free_port()
        data_dir.mkdir(parents=True, exist_ok=True)
        given = {"MED3D_DICOM_PORT": str(self.dicom_port), "MED3D_DICOM_ALLOWED": "SCANNER@127.0.0.1"} | environment
        super().__init__(data_dir, **given)

    def begin(self) -> Self:
        return self.start("listener")

    def kill(self) -> None:
        """SIGKILL, as a loss of the process at any moment is."""
        self.stop("listener", signal.SIGKILL)

    def log(self) -> str:
        return (self.data_dir / "listener.log").read_text()

    def events(self) -> Counter[str]:
        return Counter(line["event"] for line in self.said("listener"))

    def rows(self) -> Sequence[ArrivedInstanceRow]:
        """All recorded instances."""
        database = self.open_database()
        with database.read() as session:
            found = session.scalars(select(ArrivedInstanceRow)).all()
        database.close()
        return found

    def arrivals(self) -> Sequence[ArrivalRow]:
        database = self.open_database()
        with database.read() as session:
            found = session.scalars(select(ArrivalRow)).all()
        database.close()
        return found

    def read_all(self) -> list[bytes]:
        """The bytes of every recorded instance; raises where one is not whole."""
        key = load_keys(self.settings).originals
        files = []
        for row in self.rows():
            path = self.store.local_path(f"originals/{row.upload_id}")
            assert path is not None
            with SealedReader(path, key, original_name(row.upload_id, self.settings.site), row.stored_sha256) as reader:
                files.append(reader.read(-1))
                assert len(files[-1]) == row.size_bytes
        return files

    def index(self, kind: str, text: str) -> str:
        return IdentifierVault(load_keys(self.settings)).blind_index(kind, text)

    def unrecorded(self) -> set[str]:
        """Files with content in the store or the spool that no row refers to."""
        recorded = {f"originals/{row.upload_id}" for row in self.rows()}
        kept = {stored.key for stored in self.store.list("originals") if stored.size_bytes > 0}
        return (kept - recorded) | {path.name for path in self.settings.spool_dir.iterdir()}

    def half_stored(self) -> set[str]:
        """Of what no row refers to, what does not open as a whole original: what was replaced by images sent anew does.

        Those lie until the sweep has seen them for a while (med3d_service.custody.leftovers).
        """
        key, half = load_keys(self.settings).originals, set()
        for name in self.unrecorded():
            path = self.store.local_path(name) if name.startswith("originals/") else None
            try:
                if path is None:
                    half.add(name)
                    continue
                with SealedReader(path, key, original_name(upload_of(name), self.settings.site), None) as reader:
                    reader.read(-1)
            except SealBrokenError:
                half.add(name)
        return half
