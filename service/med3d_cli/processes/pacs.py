"""`med3d pacs`: the DICOM listener, and what an Orthanc beside us needs."""

from typing import Annotated, Any

import typer

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_cli.processes.arrivals import arrivals
from med3d_cli.processes.conformance import conformance
from med3d_cli.processes.orthanc.command import orthanc_config
from med3d_cli.processes.peer_checks import check, echo
from med3d_cli.processes.worker import EXIT_UNFIT


def pacs_commands() -> typer.Typer:
    """`med3d pacs`: listen, echo, check, arrivals, conformance, orthanc-config."""
    group = typer.Typer(help="DICOM nodes: take what they send, and set them up.", no_args_is_help=True)
    group.command()(listen)
    group.command()(echo)
    group.command()(check)
    group.command()(arrivals)
    group.command()(conformance)
    group.command("orthanc-config")(orthanc_config)
    return group


def listen(
    host: Annotated[
        str | None, typer.Option(help="Where to listen. Default: MED3D_DICOM_HOST, else 127.0.0.1.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: MED3D_DICOM_PORT, else 11112.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="AE@ADDRESS", help="Who may send; again for more. Default: MED3D_DICOM_ALLOWED."),
    ] = None,
) -> None:
    """Take MR images by C-STORE (and answer C-ECHO), set by MED3D_* variables as the other processes."""
    with extra("service"):
        from pydantic import ValidationError

        from med3d_service.network.listener.admission import InvalidCallerError
        from med3d_service.network.listener.server import ListenerError
        from med3d_service.network.peers import ConfigurationError
        from med3d_service.processes import run_listener
        from med3d_service.settings import Settings
        from med3d_service.studies.arrivals.routing import InvalidRulesError
    given: dict[str, Any] = {"dicom_host": host, "dicom_port": port, "dicom_allowed": tuple(allow) if allow else None}
    try:
        run_listener(Settings(**{name: value for name, value in given.items() if value is not None}))
    except (ConfigurationError, InvalidCallerError, InvalidRulesError, ListenerError, ValidationError) as error:
        raise CommandError(f"the listener cannot be set so: {error}", EXIT_UNFIT) from error
    except OSError as error:
        raise CommandError(f"the listener cannot start: {error.strerror}") from error
