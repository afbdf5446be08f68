"""The configured DICOM nodes: which there are, and whether they answer and let us in."""

from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from pydantic import Field

from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts
from med3d_service.network.peers import Peers
from med3d_service.network.peers.checked import PeerChecks, PeerLook
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.runs.views import moment
from med3d_service.trust.access import Operator, Viewer
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(tags=["peers"])
EXAMPLE = {
    "name": "pacs",
    "protocol": "dimse",
    "ae_title": "PACS",
    "host": "pacs.example.org",
    "last_check": {
        "at": "2026-01-05T09:00:00Z",
        "ok": True,
        "findings": [{"what": "C-ECHO", "said": "", "code": "", "fault": False}],
    },
}


class PeerFinding(Frozen):
    """One thing that was tried. ``said`` tells what to know or to do, empty where it simply works."""

    what: str
    said: str
    code: str = Field(description="of what is said, the same in every release; empty where it simply works")
    fault: bool = Field(description="false for what is a limit of the peer's, which may not matter")


class PeerCheck(Frozen):
    """The last look at a peer since this process started."""

    at: datetime
    ok: bool
    findings: tuple[PeerFinding, ...]


class PeerView(Frozen):
    """A configured DICOM node. ``ae_title`` is empty for DICOMweb."""

    name: str
    protocol: Literal["dimse", "dicomweb"]
    ae_title: str
    host: str
    last_check: PeerCheck | None


class PeerCheckRequest(Frozen):
    """POST /peers/checks: which peer to look at."""

    peer: str = Field(max_length=64, description="name in the peers' file")


class PeerList(Frozen):
    """The peers, in the order of their names."""

    items: tuple[PeerView, ...]


@router.get(
    "/peers",
    dependencies=[Unaudited],
    summary="List the DICOM nodes that are configured",
    responses=problems(*AUTH_CODES)
    | {200: {"description": "All peers", "content": {"application/json": {"example": {"items": [EXAMPLE]}}}}},
)
def list_peers(request: Request, service: ServiceParts, caller: Viewer) -> PeerList:
    """List the peers of the peers' file that the caller's site may use, with what the last look at each found."""
    return PeerList(items=_views(service.peers.of_site(caller.only_site), _checks(request)))


@router.post(
    "/peers/checks",
    summary="Look at a peer now",
    responses=problems("unknown_peer", *AUTH_CODES)
    | {200: {"description": "What was found", "content": {"application/json": {"example": EXAMPLE["last_check"]}}}},
)
def check_peer(wanted: PeerCheckRequest, request: Request, service: ServiceParts, caller: Operator) -> PeerCheck:
    """Try C-ECHO, a search and retrieving, as the service would: a study that nobody has is asked for."""
    peer, known = wanted.peer, service.peers.of_site(caller.only_site)
    if peer not in known.dimse and peer not in known.dicomweb:
        raise ServiceError("unknown_peer")
    return _check(_checks(request).look_at(peer))


def _checks(request: Request) -> PeerChecks:
    checks: PeerChecks = request.app.state.peer_checks
    return checks


def _views(peers: Peers, checks: PeerChecks) -> tuple[PeerView, ...]:
    last = {name: _check(one) for name, one in checks.last().items()}
    dimse = [
        PeerView(name=name, protocol="dimse", ae_title=one.ae_title, host=one.host, last_check=last.get(name))
        for name, one in peers.dimse.items()
    ]
    web = [
        PeerView(
            name=name,
            protocol="dicomweb",
            ae_title="",
            host=urlsplit(str(one.base_url)).hostname or "",
            last_check=last.get(name),
        )
        for name, one in peers.dicomweb.items()
    ]
    return tuple(sorted([*dimse, *web], key=lambda one: (one.name, one.protocol)))


def _check(found: PeerLook) -> PeerCheck:
    findings = tuple(
        PeerFinding(what=one.what, said=one.said, code=one.code, fault=bool(one.said) and one.is_fault)
        for one in found.findings
    )
    return PeerCheck(at=moment(found.at), ok=not any(one.fault for one in findings), findings=findings)
