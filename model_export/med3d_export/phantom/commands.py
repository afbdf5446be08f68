"""``med3d-export phantom``: write a phantom cohort, and ask objectives for its factors."""

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from med3d_export.config import read_config
from med3d_export.phantom.cohort import write_phantom_cohort
from med3d_export.phantom.factors import PhantomDesign, draw_factors
from med3d_export.phantom.site_trial import THREE_SITES, site_scores, write_site_scores
from med3d_export.phantom.trial import PhantomTrial, recovery_table, write_recovery
from med3d_export.releasing.assets import grid_spec
from med3d_export.releasing.template import open_template
from med3d_export.report.recovery_figure import recovery_figure

app = typer.Typer(no_args_is_help=True, help="A cohort with a known truth, made from the template.")

Out = Annotated[Path, typer.Option("--out", help="folder that is written to")]
Recipe = Annotated[Path, typer.Option("--config", help="TOML recipe", exists=True, dir_okay=False)]


@app.command()
def write(
    out: Out,
    count: Annotated[int, typer.Option("--count", help="people", min=2)] = 200,
    seed: Annotated[int, typer.Option("--seed", help="the same seed gives the same bytes")] = 2510,
) -> None:
    """Write participants.csv, factors.csv and one NIfTI per person: a cohort that every other command takes."""
    design = PhantomDesign()
    manifest = write_phantom_cohort(draw_factors(count, seed, design), open_template(), out, seed, design)
    typer.echo(f"{count} phantoms: {manifest}")


@app.command()
def recover(config: Recipe, out: Out) -> None:
    """Fit the recipe's objective and its [phantom.variants] and write which factors their latents recover."""
    recipe = read_config(config)
    trial = PhantomTrial.prepared(recipe, open_template(), grid_spec(recipe.grid), PhantomDesign())
    fits = recipe.phantom.folds * recipe.phantom.seeds * (1 + len(recipe.phantom.variants))
    with tqdm(total=fits * recipe.optimiser.epochs, unit="epoch") as bar:

        def show(name: str, report: object) -> None:
            del report
            bar.set_description(name)
            bar.update()

        found = trial.run(show)
    write_recovery(found, out)
    recovery_figure(found, out / "recovery.png")
    typer.echo(recovery_table(found))


@app.command()
def harmonise(config: Recipe, out: Out) -> None:
    """Fit the recipe's objective to phantoms of three sites and write what a correction for sites does."""
    recipe = read_config(config)
    trial = PhantomTrial.prepared(recipe, open_template(), grid_spec(recipe.grid), THREE_SITES)
    fits = recipe.phantom.folds + len(THREE_SITES.sites)
    with tqdm(total=fits * recipe.optimiser.epochs, unit="epoch") as bar:
        scores = site_scores(trial, lambda _name, _report: bar.update())
    typer.echo(write_site_scores(scores, out))
