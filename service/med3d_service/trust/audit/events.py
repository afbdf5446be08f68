"""What an entry of the audit trail says. Ids are ours; what names a patient never stands in it."""

import getpass
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Action(StrEnum):
    """What was done."""

    READ = "read"
    SEARCH = "search"
    RECEIVE = "receive"
    CHANGE = "change"
    SEND = "send"
    ERASE = "erase"
    ENTER = "enter"
    """Somebody came in, or tried to: recorded where it was refused."""
    SECURE = "secure"
    """Keys and grants were changed."""
    AUDIT = "audit"
    """The trail itself was exported or shortened."""
    START = "start"
    STOP = "stop"
    """A process of the service began, and ended as it should."""
    BACKUP = "backup"
    RESTORE = "restore"
    ALERT = "alert"
    """What is stored is not what was written."""


class Outcome(StrEnum):
    """How it ended."""

    DONE = "done"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True)
class Actor:
    """Who did it: a key's prefix, a token's subject, a DICOM peer, a command's user, or a process of the service."""

    kind: str  # key, token, peer, command, process, nobody
    name: str
    role: str = ""
    address: str = ""


NOBODY = "nobody"


@dataclass(frozen=True)
class AuditEvent:
    """One thing that was done to one object. ``detail`` holds counts, codes, routes and our ids."""

    actor: Actor
    action: Action
    outcome: Outcome = Outcome.DONE
    object_kind: str = ""
    object_id: str = ""
    detail: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def detail_text(self) -> str:
        """The detail as it is stored and sealed."""
        return json.dumps(dict(self.detail), sort_keys=True, separators=(",", ":"))


def command_line() -> Actor:
    """Return whoever calls a command on this machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return Actor("command", user, address=socket.gethostname())


def process(name: str) -> Actor:
    """Name a process of the service that acts by itself."""
    return Actor("process", name, address=socket.gethostname())
