"""An object store in memory, with the faults that tests ask for."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from med3d_store.object_store import ObjectDamagedError, ObjectInfo, ObjectMissingError, StoredObject


class MemoryStore:
    """Objects by key in a dict. ``fault`` is raised by every write while it is set."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fault: Exception | None = None

    def put(self, key: str, data: bytes) -> StoredObject:
        if self.fault:
            raise self.fault
        self.objects[key] = data
        return StoredObject(key, hashlib.sha256(data).hexdigest(), len(data))

    def get(self, key: str, sha256: str | None = None) -> bytes:
        if key not in self.objects:
            raise ObjectMissingError(key)
        data = self.objects[key]
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise ObjectDamagedError(key)
        return data

    def fetch(self, key: str, path: Path, sha256: str | None = None) -> Path:
        path.write_bytes(self.get(key, sha256))
        return path

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def head(self, key: str) -> ObjectInfo | None:
        if key not in self.objects:
            return None
        return ObjectInfo(key, len(self.objects[key]), datetime.now(UTC))
