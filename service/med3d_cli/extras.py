"""Commands import what they need when they run, and name the extra to install where something is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from med3d_cli.errors import CommandError
from med3d_pipeline.installing import install_command

OURS = ("med3d_cli", "med3d_contract", "med3d_service", "med3d_pipeline", "med3d_worker")


@contextmanager
def extra(*names: str) -> Iterator[None]:
    """Turn the failed import of a package inside into a CommandError that names the extras ``names``."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in OURS:
            raise  # a fault of ours, not a missing extra
        raise CommandError(f"{error.name} is not installed; try: {install_command(*names)}") from error


def require_onnx_runtime(wheels: tuple[str, ...] | None = None) -> None:
    """Raise CommandError unless exactly one ONNX Runtime wheel is installed, and say how to mend it.

    ``wheels`` stands in for what is installed here.
    """
    with extra("worker"):
        from med3d_pipeline.errors import BundleError
        from med3d_pipeline.runtime.onnx_sessions import installed_runtime_wheels, require_one_runtime
    try:
        require_one_runtime(installed_runtime_wheels() if wheels is None else wheels)
    except BundleError as error:
        raise CommandError(str(error)) from error
