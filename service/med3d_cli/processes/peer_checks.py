"""`med3d pacs echo` and `med3d pacs check`: whether the configured peers answer, let us in, and do what we need."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_cli.processes.worker import EXIT_UNFIT
from med3d_cli.screens import AsJson, print_json

if TYPE_CHECKING:
    from med3d_service.network.peers import Peers
    from med3d_service.network.peers.checking import Finding


def echo(
    peer: Annotated[str, typer.Argument(help="A DIMSE peer of the peers' file.")], as_json: AsJson = False
) -> None:
    """Send a C-ECHO to a configured peer, as the service would call it."""
    with extra("service"):
        from med3d_service.network.peers import checking
    peers, _ = _configured()
    if peer not in peers.dimse and peer in peers.dicomweb:
        raise CommandError(f"{peer} is a DICOMweb peer, which has no C-ECHO: `med3d pacs check {peer}` tries it")
    if peer not in peers.dimse:
        known = ", ".join(sorted(peers.dimse)) or "none"
        raise CommandError(f"the peers' file has no [dimse.{peer}]; it has: {known}")
    _tell([checking.echo(f"dimse:{peer}", peers.dimse[peer])], as_json=as_json)


def check(
    peer: Annotated[str | None, typer.Argument(help="One peer; default: all of them.")] = None, as_json: AsJson = False
) -> None:
    """Try every configured peer: C-ECHO, C-FIND, retrieve, DICOMweb, credentials, storage commitment."""
    with extra("service"):
        from med3d_service.network.peers import checking
    peers, committing = _configured()
    if peer is not None and peer not in {*peers.dimse, *peers.dicomweb}:
        known = ", ".join(sorted({*peers.dimse, *peers.dicomweb})) or "none"
        raise CommandError(f"the peers' file has no peer {peer}; it has: {known}")
    if not peers.dimse and not peers.dicomweb:
        raise CommandError("there is no peer to check: MED3D_PEERS_FILE names a file with one (docs/pacs.md)")
    _tell(checking.check_peers(peers, peer, committing), as_json=as_json)


def _configured() -> "tuple[Peers, tuple[str, ...]]":
    """Return the peers, and those that are asked for storage commitment. Raises CommandError."""
    with extra("service"):
        from pydantic import ValidationError

        from med3d_service.network.peers import ConfigurationError, load_peers
        from med3d_service.results.delivery.destinations import load_destinations
        from med3d_service.settings import Settings
    try:
        settings = Settings()
        destinations = load_destinations(settings)
        committing = tuple(one.name.partition(":")[2] for one in destinations if one.commitment)
        return load_peers(settings.peers_file), committing
    except (ConfigurationError, ValidationError) as error:
        raise CommandError(str(error), EXIT_UNFIT) from error


def _tell(findings: "Iterable[Finding]", *, as_json: bool) -> None:
    """Print each finding as it comes, or all as JSON; leave with 1 where one is a fault."""
    told = []
    for finding in findings:
        is_fault = bool(finding.said) and finding.is_fault
        told.append(asdict(finding) | {"is_fault": is_fault})
        if not as_json:
            code = f" [{finding.code}]" if finding.code else ""
            typer.echo(f"{finding.peer}  {finding.what}: {finding.said or 'OK'}{code}")
    if as_json:
        print_json(told)
    if any(one["is_fault"] for one in told):
        raise typer.Exit(1)
