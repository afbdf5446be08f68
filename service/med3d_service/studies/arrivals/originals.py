"""Where originals that come one by one lie in the store, and how each gets there with a single fsync."""

import secrets
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from med3d_service.storage.sealed import SealedWriter
from med3d_service.studies.original_names import original_key, original_name
from med3d_store.object_store import ObjectStore, StoredObject

RESERVED_AT_ONCE = 64


@dataclass(frozen=True)
class _Place:
    upload_id: str
    path: Path
    reserved_at: float


class SealedOriginal:
    """One instance on its way into the store. ``stored`` is there after ``store``."""

    def __init__(self, upload_id: str, writer: SealedWriter) -> None:
        self.upload_id = upload_id
        self.writer = writer


class Originals:
    """Seals instances into the store; safe among threads.

    In a local store empty files are made ahead of time, many at once, so that an instance need not wait until its name
    is on disk, too. What a crash leaves of them is removed with the other leftovers, by ``kept_s`` at the earliest.
    """

    def __init__(self, store: ObjectStore, spool_dir: Path, key: bytes, kept_s: float) -> None:
        self._store = store
        self._spool_dir = spool_dir
        self._key = key
        self._usable_s = kept_s / 4
        self._lock = threading.Lock()
        self._places: deque[_Place] = deque()

    @contextmanager
    def sealing(self, site: str) -> Iterator[SealedOriginal]:
        """Give a writer for one instance of ``site``; what is not stored in the block leaves nothing behind."""
        place = self._place()
        if place is None:
            path, upload_id = self._spool_dir / f"{secrets.token_hex(16)}.instance", str(uuid.uuid4())
            writer = SealedWriter(path, self._key, original_name(upload_id, site))
        else:
            upload_id = place.upload_id
            writer = SealedWriter(place.path, self._key, original_name(upload_id, site), flags=0)
        original = SealedOriginal(upload_id, writer)
        try:
            yield original
        except BaseException:
            original.writer.discard()
            raise

    def store(self, original: SealedOriginal) -> StoredObject:
        """Have the instance in the store, on disk."""
        writer = original.writer
        writer.close()
        key = original_key(original.upload_id)
        if writer.path.parent == self._spool_dir:
            return self._store.put_file(key, writer.path, sha256=writer.sha256)
        self._store.settle_reserved(writer.path)
        return StoredObject(key, writer.sha256, writer.path.stat().st_size)

    def remove(self, upload_id: str) -> None:
        """Take an instance out again."""
        self._store.delete(original_key(upload_id))

    def close(self) -> None:
        """Remove the files that were made ahead of time."""
        with self._lock:
            while self._places:
                self._places.popleft().path.unlink(missing_ok=True)

    def _place(self) -> _Place | None:
        with self._lock:
            while self._places and time.monotonic() - self._places[0].reserved_at >= self._usable_s:
                self._places.popleft().path.unlink(missing_ok=True)
            if not self._places:
                self._reserve()
            return self._places.popleft() if self._places else None

    def _reserve(self) -> None:
        ids = [str(uuid.uuid4()) for _ in range(RESERVED_AT_ONCE)]
        paths = self._store.reserve([original_key(upload_id) for upload_id in ids])
        now = time.monotonic()
        self._places.extend(_Place(upload_id, path, now) for upload_id, path in zip(ids, paths or (), strict=False))
