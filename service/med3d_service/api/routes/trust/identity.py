"""Who calls, and links by which a browser signs in as who calls."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.runs.views import moment
from med3d_service.trust.access import Role, Viewer
from med3d_service.trust.access.sessions import make_link
from med3d_service.trust.audit.events import Action, Actor, AuditEvent
from med3d_service.trust.audit.routes import RecordsItself, Unaudited

router = APIRouter(tags=["access"])

ME = {"kind": "key", "name": "0a1b2c3d", "role": "operator", "clinical": False, "site": "default", "every_site": False}
LINK = {"path": "/ui/enter?code=Yk3...", "expires_at": "2026-01-05T10:00:00Z"}


class Me(Frozen):
    """Who calls, and what they may."""

    kind: str = Field(description="key, token or session")
    name: str = Field(description="a key's prefix, a token's subject, or of a session its key's prefix and its id")
    role: Role
    clinical: bool = Field(description="may see, and search by, what names a patient")
    site: str = Field(description="where what the caller sends belongs")
    every_site: bool = Field(description="sees the studies of all sites")


class SignInLink(Frozen):
    """A link that opens the pages once, as who asked for it."""

    path: Annotated[str, Field(description="below the service's address; it is a secret until it was used")]
    expires_at: datetime


@router.get(
    "/me",
    dependencies=[Unaudited],
    summary="Who calls",
    responses=problems(*AUTH_CODES)
    | {200: {"description": "The caller", "content": {"application/json": {"example": ME}}}},
)
def read_me(caller: Viewer) -> Me:
    """Read who calls, with which role, grant and site."""
    return Me(
        kind=caller.kind,
        name=caller.name,
        role=caller.role,
        clinical=caller.clinical,
        site=caller.site,
        every_site=caller.every_site,
    )


@router.post(
    "/sign-in-links",
    status_code=201,
    dependencies=[RecordsItself],
    summary="Make a link that signs a browser in",
    responses=problems(*AUTH_CODES)
    | {201: {"description": "A link for one use", "content": {"application/json": {"example": LINK}}}},
)
def make_sign_in_link(service: ServiceParts, caller: Viewer) -> SignInLink:
    """Make a link that opens the pages once within an hour, with the rights of the API key that asks for it."""
    if caller.kind != "key":
        raise ServiceError("wrong_scope", "A link is made with an API key, whose rights it passes on to one browser.")
    with service.database.write() as session:
        made = make_link(session, caller.name)
        actor = Actor(caller.kind, caller.name, caller.role, caller.address)
        detail = {"route": "/sign-in-links", "what": "link_made"}
        service.audit.append(session, AuditEvent(actor, Action.SECURE, object_kind="session", detail=detail))
    return SignInLink(path=f"/ui/enter?code={made.code}", expires_at=moment(made.expires_at))
