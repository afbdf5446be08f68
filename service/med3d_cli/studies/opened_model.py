"""Which model the processes of one command open, so that they share the machine's cores."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra, require_onnx_runtime

if TYPE_CHECKING:
    from med3d_worker.analysis import Analyser


@dataclass(frozen=True)
class Model:
    """Which model the processes open: None is the one that the project ships.

    slices: with each answer come so many pictures of its head in each plane, none where it is 0.
    """

    bundle: Path | None
    calibration: Path | None
    slices: int = 0

    def open(self, processes: int) -> "Analyser":
        """Open it for one of ``processes``, which share the machine's cores. Raises CommandError."""
        threads = None if processes == 1 else max(1, (os.cpu_count() or 1) // processes)
        return open_analyser(self.bundle, self.calibration, slices=self.slices, threads=threads)


def open_analyser(
    bundle: Path | None, calibration: Path | None = None, *, slices: int = 0, threads: int | None = None
) -> "Analyser":
    """Open the shipped model or the one in ``bundle``, verified, with ``calibration``. Raises CommandError.

    slices: each analysis comes with so many pictures of its head in each plane. threads: in place of what is set.
    """
    with extra("worker"):
        require_onnx_runtime()
        from med3d_pipeline.errors import PipelineError
        from med3d_worker.analysis import Analyser
        from med3d_worker.heads.pictures import PicturesInHand
        from med3d_worker.model.loaded_model import load_model
        from med3d_worker.process.logs import configure_logs
        from med3d_worker.settings import BundleSettings
    configure_logs("WARNING")
    given = {"bundle": bundle, "calibration": calibration, "threads": threads}
    stated: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = BundleSettings(**stated)
    try:
        model = load_model(settings, prove=False)
    except (PipelineError, ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    allowed = settings.allow_demonstration_heads
    return Analyser(
        model,
        allow_demonstration_heads=allowed,
        pictures=PicturesInHand() if slices else None,
        slices=max(slices, 1),
    )
