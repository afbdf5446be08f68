"""Roles, what a key or token grants, and who calls."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import InstrumentedAttribute

EVERY_SITE = "*"
SESSION = "session"


class Role(StrEnum):
    """Each role may do what the ones before it may; ``worker`` stands apart and may do nothing else."""

    METRICS = "metrics"
    VIEWER = "viewer"
    SUBMITTER = "submitter"
    OPERATOR = "operator"
    ADMIN = "admin"
    WORKER = "worker"

    def covers(self, required: "Role") -> bool:
        """Return True if this role includes the rights of ``required``."""
        if Role.WORKER in {self, required}:
            return self is required
        return RANKS.index(self) >= RANKS.index(required)

    @property
    def is_for_people(self) -> bool:
        """Whether a person may have this role: the lowest is for what scrapes /metrics, ``worker`` for workers."""
        return self.covers(Role.VIEWER)


RANKS = (Role.METRICS, Role.VIEWER, Role.SUBMITTER, Role.OPERATOR, Role.ADMIN)
CLINICAL = "clinical"
"""The grant to see, and to search by, what names a patient. It comes beside a role, and no role includes it."""


@dataclass(frozen=True)
class Grant:
    """What a key or a token allows. ``site`` is the one whose studies are seen, or EVERY_SITE."""

    role: Role
    clinical: bool = False
    site: str = EVERY_SITE


@dataclass(frozen=True)
class Caller:
    """Who calls. ``site`` is where what the caller sends belongs.

    name: a key's prefix, a token's subject, or of a session its key's prefix, a dot and the session's id.
    """

    kind: str  # key, token or session
    name: str
    role: Role
    clinical: bool
    site: str
    every_site: bool
    address: str

    @property
    def only_site(self) -> str | None:
        """The one site whose things are this caller's; None where every site's are."""
        return None if self.every_site else self.site

    @property
    def prefix(self) -> str:
        """The prefix of the key, also of a session of it; a token's subject may hold a dot, too, and has none."""
        return self.name.partition(".")[0] if self.kind == SESSION else self.name

    def sees(self, site: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
        """Return the condition that rows with the column ``site`` are this caller's to see."""
        return true() if self.every_site else site == self.site
