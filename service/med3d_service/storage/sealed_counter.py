"""A small file outside the database that only grows: what putting back an older database must not bring back.

It holds a number that goes up with each change, where the audit trail ended, which keys, calibrations and models were
ended, and the default model; sealed with an HMAC under a key that derives from the site key. A process that has read
it takes no older one afterwards.
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from pydantic import Field, ValidationError

from med3d_contract.results import Frozen
from med3d_service.settings import Settings

log = structlog.get_logger()
FILE_NAME = "trust.sealed"


class CounterBrokenError(ValueError):
    """The file is not what was written; the message says what to do."""


class Noted(Frozen):
    """What the file holds."""

    number: int = 0
    rows_are_sealed: bool = False
    trail_seq: int = 0
    trail_mac: str = ""
    ended_keys: dict[str, float] = Field(default_factory=dict, description="when each ended, by prefix")
    withdrawn: dict[str, float] = Field(default_factory=dict, description="calibrations, by digest and owner")
    default_bundle: str = ""
    retired: dict[str, float] = Field(default_factory=dict, description="models, by digest")
    restored: tuple[str, ...] = Field((), description="when a backup was restored, and from which end of the trail")
    lost_ends: tuple[str, ...] = Field((), description="ends of the trail that were noted and are not in it any more")


class SealedCounter:
    """Reads and changes the file; safe among processes of one machine, or of several that share the folder."""

    def __init__(self, path: Path, key: bytes) -> None:
        self.path, self._key = path, key
        self._seen: tuple[tuple[int, int, int], Noted] | None = None

    @classmethod
    def of(cls, settings: Settings, key: bytes) -> "SealedCounter":
        """Return the file of these settings."""
        return cls(settings.data_dir / FILE_NAME, key)

    @property
    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path.exists()

    def read(self) -> Noted:
        """Read what was noted last; of a file that went, went back or was altered, what this process has seen before.

        Raises CounterBrokenError where it is not as it was written, and this process has not seen it otherwise.
        """
        if not self.exists:
            if self._seen is not None:
                log.error("integrity_alert", code="counter_missing")
            return Noted() if self._seen is None else self._seen[1]
        stat = self.path.stat()
        mark = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if self._seen is not None and self._seen[0] == mark:
            return self._seen[1]
        try:
            found: Noted | None = self._opened(self.path.read_bytes())
        except CounterBrokenError:
            if self._seen is None:
                raise
            found = None
        if found is None:
            assert self._seen is not None
            log.error("integrity_alert", code="counter_altered")
            return self._seen[1]
        if self._seen is not None and found.number < self._seen[1].number:
            log.error("integrity_alert", code="counter_rolled_back", number=found.number)
            return self._seen[1]
        self._seen = (mark, found)
        return found

    def change(self, changed: Callable[[Noted], dict[str, Any]], *, makes: bool = False) -> Noted:
        """Replace what ``changed`` gives for what was noted, on disk when this returns.

        makes: where there is no file it is made. Else it was lost, and a new one would have forgotten all that ended.
        Raises CounterBrokenError.
        """
        with self._locked():
            before = self.read()
            if not makes and not self.exists and self._seen is None:
                raise CounterBrokenError(
                    f"{self.path} is gone: bring the newest back, or accept its loss with 'med3d audit renew-counter'"
                )
            values = changed(before)
            number = max(before.number, int(values.get("number", 0))) + 1
            now = before.model_copy(update={**values, "number": number})
            self._write(now)
            return self.read()

    def end_key(self, prefix: str, at: float) -> None:
        """Note that a key ends at ``at``, whatever its row may say."""
        self.change(lambda noted: {"ended_keys": noted.ended_keys | {prefix: at}})

    def withdraw(self, calibration: str, at: float) -> None:
        """Note that a calibration was withdrawn."""
        self.change(lambda noted: {"withdrawn": noted.withdrawn | {calibration: at}})

    def choose_bundle(self, digest: str) -> None:
        """Note the default model, where it is another one; one that had been retired is used again."""
        noted = self.read()
        if noted.default_bundle != digest or digest in noted.retired:
            self.change(lambda noted: {"default_bundle": digest, "retired": _without(noted.retired, digest)})

    def retire_bundle(self, digest: str, at: float) -> None:
        """Note that a model is not used any more."""
        self.change(lambda noted: {"retired": noted.retired | {digest: at}})

    def take_over(self, before: "SealedCounter") -> None:
        """Seal under this one's key what ``before`` had sealed. Raises CounterBrokenError where neither had."""
        with self._locked():
            try:
                self._opened(self.path.read_bytes())
            except CounterBrokenError:
                self._write(before.read())

    def _write(self, noted: Noted) -> None:
        text = noted.model_dump_json()
        aside = self.path.with_suffix(f".{secrets.token_hex(4)}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{text}\n{self._seal(text)}\n")
            file.flush()
            os.fsync(file.fileno())
            if self.exists and os.geteuid() == 0:  # root's command must not take the file from the service's user
                before = self.path.stat()
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
        aside.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _opened(self, content: bytes) -> Noted:
        text, _, seal = content.decode(errors="replace").strip().partition("\n")
        if not hmac.compare_digest(seal.encode(), self._seal(text).encode()):
            raise CounterBrokenError(
                f"{self.path} is not as this service wrote it, or another site key's: bring the file back, or accept "
                "its loss with 'med3d audit renew-counter'"
            )
        try:
            return Noted.model_validate_json(text)
        except ValidationError as error:
            raise CounterBrokenError(f"{self.path} is of a later version than this one") from error

    def _seal(self, text: str) -> str:
        said = json.dumps(["counter", text], ensure_ascii=True)
        return hmac.new(self._key, said.encode(), hashlib.sha256).hexdigest()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _without(noted: dict[str, float], digest: str) -> dict[str, float]:
    return {one: at for one, at in noted.items() if one != digest}
