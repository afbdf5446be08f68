"""The preprocessed head as an object in the store: found again by what made it, so that a new encoder need not wait."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from med3d_contract.work import PreprocessedObject
from med3d_store.object_store import ObjectDamagedError, ObjectInfo, StoredObject


@dataclass(frozen=True, eq=False)
class TensorRecord:
    """What preprocessing made of one head.

    tensor: (X, Y, Z) float32 in template space, as the spec of the bundle says.
    template_to_native: (4, 4) float64, RAS mm of the template to RAS mm of the scan.
    measures: of the quality gate, by name; NaN where one could not be taken.
    """

    tensor: npt.NDArray[np.float32]
    template_to_native: npt.NDArray[np.float64]
    measures: dict[str, float]


class Store(Protocol):
    """The part of ObjectStore that is needed here."""

    def put(self, key: str, data: bytes) -> StoredObject:
        """Store an object whole."""
        ...

    def get(self, key: str, sha256: str | None = None) -> bytes:
        """Return the object; raises StoreError."""
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """Read it; None where there is no such object."""
        ...


def tensor_key(input_digest: str, preprocessing_digest: str) -> str:
    """Return the object key: digests of the chosen series' instances and of all that turns them into a tensor."""
    joined = hashlib.sha256(f"{input_digest}\n{preprocessing_digest}".encode()).hexdigest()
    return f"tensors/{joined[:2]}/{joined}.npz"


def encode(record: TensorRecord) -> bytes:
    """Return an npz without pickles; the same record gives the same bytes."""
    names = sorted(record.measures)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        tensor=record.tensor.astype(np.float32),
        template_to_native=record.template_to_native.astype(np.float64),
        measure_names=np.array(names, dtype=np.str_),
        measures=np.array([record.measures[name] for name in names], dtype=np.float64),
    )
    return buffer.getvalue()


def decode(data: bytes) -> TensorRecord:
    """Read what ``encode`` wrote. Raises ObjectDamagedError where ``data`` is no such npz."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            names, values = stored["measure_names"], stored["measures"]
            return TensorRecord(
                tensor=stored["tensor"],
                template_to_native=stored["template_to_native"],
                measures={str(name): float(value) for name, value in zip(names, values, strict=True)},
            )
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ObjectDamagedError("a stored tensor cannot be read") from error


class TensorCache:
    """Tensors in the store by their key."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, key: str) -> tuple[TensorRecord, PreprocessedObject] | None:
        """Return the record and its object where it is whole.

        None where it is not there, or damaged and to be made again.
        """
        if self._store.head(key) is None:
            return None
        data = self._store.get(key)
        try:
            record = decode(data)
        except ObjectDamagedError:
            return None
        return record, PreprocessedObject(key=key, sha256=hashlib.sha256(data).hexdigest())

    def keep(self, key: str, record: TensorRecord) -> PreprocessedObject:
        """Store the record."""
        stored = self._store.put(key, encode(record))
        return PreprocessedObject(key=stored.key, sha256=stored.sha256)

    def load(self, stored: PreprocessedObject) -> TensorRecord:
        """Return the record; raises StoreError where it is missing or damaged."""
        return decode(self._store.get(stored.key, stored.sha256))
