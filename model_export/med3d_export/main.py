"""The ``med3d-export`` command: prepare, train, evaluate, compare, release, promote."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from med3d_export.cohort import CohortError
from med3d_export.config import read_config
from med3d_export.experiment import Experiment
from med3d_export.onnx_export import ParityError
from med3d_export.release import ReleaseError
from med3d_export.tensor_cache import default_cache
from med3d_export.training import TrainingError
from med3d_pipeline.bundle import Bundle
from med3d_pipeline.errors import PipelineError

app = typer.Typer(no_args_is_help=True, help="Train the InfoVAE and release it as a bundle.", add_completion=False)

Config = Annotated[Path, typer.Option("--config", help="TOML recipe", exists=True, dir_okay=False)]
Data = Annotated[
    Path, typer.Option("--data", help="manifest (CSV, Parquet), folder with one, or BIDS dataset", exists=True)
]
Cache = Annotated[Path | None, typer.Option("--cache", help="where tensors are kept; default: the user's cache")]
Jobs = Annotated[int, typer.Option("--jobs", help="heads preprocessed at once", min=1)]
Run = Annotated[Path, typer.Option("--run", help="folder of the training run: weights, out-of-fold results")]
Out = Annotated[Path, typer.Option("--out", help="folder of the bundle; must be empty or absent")]


@app.command()
def prepare(config: Config, data: Data, cache: Cache = None, jobs: Jobs = 2) -> None:
    """Check the manifest and preprocess every head into the cache."""
    prepared = _experiment(config, data, cache, jobs).prepare()
    typer.echo(f"{len(prepared.tensors)} heads on a grid of {' x '.join(map(str, prepared.tensors.shape[1:]))}")


@app.command()
def train(config: Config, data: Data, run: Run, cache: Cache = None, jobs: Jobs = 2) -> None:
    """Preprocess, fit every fold of the cross-validation, then everyone; a run that was stopped goes on."""
    _experiment(config, data, cache, jobs).train(run)
    typer.echo(f"fitted: {run}")


@app.command()
def evaluate(config: Config, data: Data, run: Run, cache: Cache = None, jobs: Jobs = 2) -> None:
    """Score a training run beside the baselines and write its report."""
    scored = _experiment(config, data, cache, jobs).evaluate(run)
    for row in scored.report.age:
        typer.echo(f"{row.name}: MAE {row.raw.mae} years, r {row.raw.r.value:.3f}")


@app.command()
def release(config: Config, data: Data, run: Run, out: Out, cache: Cache = None, jobs: Jobs = 2) -> None:
    """Make a bundle of a training run: export, parity, metrics, reference case, manifest."""
    _say(_experiment(config, data, cache, jobs).release(run, out))


def _experiment(config: Path, data: Path, cache: Path | None, jobs: int) -> Experiment:
    return Experiment(read_config(config), data, cache or default_cache(), jobs)


def _say(bundle: Bundle) -> None:
    m = bundle.manifest.metrics
    typer.echo(f"{bundle.name} {bundle.version} {bundle.digest[:12]}")
    typer.echo(f"cross-validated MAE {m['brain_age_mae']:.2f} years, r {m['brain_age_r']:.2f}")
    typer.echo(f"voxels {m['baseline_voxel_kernel_ridge_mae']:.2f}, mean only {m['baseline_mean_only_mae']:.2f} years")


def run() -> None:
    """Entry point: known faults end in one clear message and exit code 2."""
    try:
        app()
    except (CohortError, ValidationError, TrainingError, ParityError, ReleaseError, PipelineError) as error:
        typer.echo(f"med3d-export: {error}", err=True)
        sys.exit(2)
