"""`med3d serve`: the whole service on this machine."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from med3d_cli.data_dir import DataDir, default_data_dir
from med3d_cli.extras import extra, require_onnx_runtime
from med3d_cli.operate.settings import refuse_wrong_values

DataDirOption = Annotated[
    Path | None, typer.Option(help="Everything that is kept lies here. Default: the user's data folder.")
]


def serve(
    data_dir: DataDirOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8000,
    dicom_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Of the DICOM listener. Default: 11112, or a free one with --port 0."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the processes say, on stderr.")] = False,
) -> None:
    """Start API, DICOM listener, worker and all that they need on 127.0.0.1, until Ctrl-C or SIGTERM."""
    with extra("service", "worker"):
        require_onnx_runtime()
        from med3d_cli.embedded.system import NOT_HERE

        refuse_wrong_values(but=NOT_HERE)
    run_service(DataDir(data_dir or default_data_dir()), port, dicom_port, verbose=verbose)


def run_service(data_dir: DataDir, port: int, dicom_port: int | None, *, verbose: bool) -> None:
    """Do everything that `serve` does, with the choices made."""
    from med3d_cli.embedded import system
    from med3d_cli.embedded.readiness import Readiness
    from med3d_cli.embedded.supervisor import Supervisor

    os.umask(0o027)  # of all processes that follow: nobody else on this machine reads what they write
    data_dir = DataDir(data_dir.root.absolute())
    data_dir.prepare()
    with ExitStack() as stack:
        stack.enter_context(data_dir.locked())
        data_dir.address_file.unlink(missing_ok=True)
        dicom_port = system.free_port(system.dicom_port(dicom_port, port), "--dicom-port")
        port = system.free_port(port, "--port")
        broker_socket = stack.enter_context(data_dir.broker_socket())
        settings = system.environment(data_dir, port, dicom_port, broker_socket)
        for name in system.unheeded(settings):
            typer.echo(f"{name} counts for nothing here: `med3d serve` keeps all below {data_dir.root}", err=True)
        system.prepare(data_dir, settings)
        url = f"http://{system.HOST}:{port}"
        stack.callback(data_dir.address_file.unlink, missing_ok=True)

        def on_ready() -> None:
            data_dir.address_file.write_text(url + "\n")
            typer.echo(f"med3d ready on {url}")
            typer.echo(f"API key: {data_dir.api_key_file}")
            typer.echo(f"DICOM listener on port {dicom_port}")
            typer.echo(f"Pages: {_link(url, data_dir)} (once, within an hour; another one: med3d sign-in)")

        def say(line: str) -> None:
            typer.echo(line, err=True)

        specs = system.process_specs(data_dir, settings, broker_socket)
        supervisor = Supervisor(specs, system.STOP_ORDER, data_dir.logs, echo=verbose)
        supervisor.run(Readiness(url, on_ready, say))


def _link(url: str, data_dir: DataDir) -> str:
    """Return an address that signs the user of this machine in, with all that their keys may."""
    from med3d_client.results import ResultsClient
    from med3d_client.transport import ApiError, ApiUnavailable

    client = ResultsClient(url, data_dir.clinical_key_file.read_text().strip())
    try:
        return client.sign_in_link()
    except (ApiError, ApiUnavailable):  # a full disk: the pages take a key, too
        return f"{url}/ui"
    finally:
        client.close()
