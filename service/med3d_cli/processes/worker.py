"""`med3d worker`: take tasks from the queues until told to stop."""

import os
from typing import Annotated, Any

import typer

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra, require_onnx_runtime
from med3d_contract.variables.values import wrong_settings

EXIT_UNFIT = 78  # EX_CONFIG of sysexits.h


def worker(
    queues: Annotated[
        str | None, typer.Option(help="Separated by commas. Default: publish,predict,preprocess.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
) -> None:
    """Run a worker, set by MED3D_* variables (broker, API, key file, store, bundle, provider, threads)."""
    with extra("worker"):
        require_onnx_runtime()
        from pydantic import ValidationError

        from med3d_worker.app import WorkerUnfit, run_worker
        from med3d_worker.settings import WorkerSettings
    stated: dict[str, Any] = {} if queues is None else {"queues": queues}
    try:
        settings = WorkerSettings(**stated)
    except ValidationError as error:
        raise CommandError(wrong_settings(error)) from error
    try:
        os.umask(0o027)
        code = run_worker(settings, log_level=log_level.upper())
    except WorkerUnfit as unfit:
        raise CommandError(str(unfit), EXIT_UNFIT if unfit.lasting else 1) from unfit
    if code:
        raise typer.Exit(code)
