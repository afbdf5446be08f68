"""The ``med3d-export`` command: prepare, train, evaluate, compare, release, renew, promote, repeatability."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from tqdm import tqdm

from med3d_cli.empty_words import refuse_empty_words
from med3d_export.age_network.members import AgeNetworksDiffer
from med3d_export.age_network.run import fit_missing
from med3d_export.comparison_run import ComparisonError
from med3d_export.comparison_run import compare as compare_objectives
from med3d_export.config import RecipeError, read_config
from med3d_export.evaluation.learning_curve import EVERYONE, learning_curve
from med3d_export.experiment import Experiment
from med3d_export.explaining.adding import add_regions, copy_with_regions
from med3d_export.explaining.atlas import LabelMapError
from med3d_export.explaining.trial import RANDOMISED_HEADS, SHUFFLES, try_explanations
from med3d_export.phantom.commands import app as phantom_app
from med3d_export.releasing.new_bundle import ReleaseError, new_bundle
from med3d_export.releasing.onnx_export import ParityError
from med3d_export.releasing.promotion import PromotionError, put_in_place, restore_stopped
from med3d_export.releasing.promotion_run import compare_bundles
from med3d_export.releasing.renewal import renew_bundle
from med3d_export.repeatability.scores import RepeatabilityError
from med3d_export.repeatability.trial import chosen_heads, measure_repeatability
from med3d_export.report.comparison_report import plan_text
from med3d_export.report.explanation_report import write_explanations
from med3d_export.report.learning_report import write_learning_curve
from med3d_export.report.repeatability_report import write_repeatability
from med3d_export.report.shift_report import write_shifts
from med3d_export.shift_trial import ShiftTrial
from med3d_export.subjects.cohort import Cohort, CohortError
from med3d_export.subjects.manifest_files import read_cohort
from med3d_export.subjects.tensor_cache import TensorCache, default_cache
from med3d_export.training import Tensors, TrainingError
from med3d_export.training_run import RunBusy, RunIncomplete, work_alone
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.bundle.bundle_signature import SIGNATURE, read_signing_key, sign_bundle
from med3d_pipeline.errors import PipelineError

KNOWN_FAULTS = (
    AgeNetworksDiffer, CohortError, ComparisonError, LabelMapError, ParityError, PipelineError, PromotionError,
    RecipeError, ReleaseError, RepeatabilityError, RunBusy, RunIncomplete, TrainingError, ValidationError,
)  # fmt: skip

app = typer.Typer(no_args_is_help=True, help="Train the InfoVAE and release it as a bundle.", add_completion=False)
app.add_typer(phantom_app, name="phantom")

Config = Annotated[Path, typer.Option("--config", help="TOML recipe", exists=True, dir_okay=False)]
Data = Annotated[
    Path, typer.Option("--data", help="manifest (CSV, Parquet), folder with one, or BIDS dataset", exists=True)
]
Cache = Annotated[Path | None, typer.Option("--cache", help="where tensors are kept; default: the user's cache")]
Jobs = Annotated[int, typer.Option("--jobs", help="heads preprocessed at once", min=1)]
Run = Annotated[Path, typer.Option("--run", help="folder of the training run: weights, out-of-fold results")]
TrainingHeads = Annotated[
    list[int], typer.Option("--training-heads", help="heads that a fold learns from; repeatable", min=1)
]
Studies = Annotated[
    list[Path], typer.Option("--study", help="folder of a study to try as it is; repeatable", exists=True)
]
Heads = Annotated[int, typer.Option("--heads", help="heads of the cohort to spoil, spread over the ages", min=2)]
Candidate = Annotated[Path, typer.Option("--candidate", help="folder of the new bundle", exists=True, file_okay=False)]
Device = Annotated[str, typer.Option("--device", help="torch's name of the device, such as cuda")]
OnlyPlan = Annotated[
    bool, typer.Option("--only-plan", help="file that says what to fit, for a machine with a GPU; nothing is fitted")
]
InPlace = Annotated[Path, typer.Option("--in-place", help="folder of the bundle to replace", file_okay=False)]
ReportFolder = Annotated[Path, typer.Option("--report", help="where the comparison is written")]
OnlyCompare = Annotated[bool, typer.Option("--only-compare", help="write the comparison and replace nothing")]
Private = Annotated[
    bool,
    typer.Option("--private", help="leave out coordinates, support vectors and decoder, which hold traces of subjects"),
]
SigningKey = Annotated[
    Path | None, typer.Option("--sign", help="private key (PEM; med3d bundle keygen) that vouches for the bundle")
]
Released = Annotated[Path, typer.Option("--released", help="folder of the bundle", exists=True, file_okay=False)]
Version = Annotated[str, typer.Option("--version", help="version of the new bundle, such as 0.2.1")]
Out = Annotated[Path, typer.Option("--out", help="folder of the bundle; must be empty or absent")]
Measured = Annotated[Path, typer.Option("--bundle", help="folder of the bundle", exists=True, file_okay=False)]
RepeatedHeads = Annotated[int, typer.Option("--heads", help="heads of the cohort, spread over the ages", min=3)]
DicomStudies = Annotated[
    list[Path] | None,
    typer.Option("--study", help="folder of a DICOM study to ask about as well; repeatable", exists=True),
]
LabelMaps = Annotated[
    Path,
    typer.Option(
        "--label-maps",
        help="folder of PARTICIPANT_DLMUSE.nii.gz, on the heads' own grids",
        exists=True,
        file_okay=False,
    ),
]
SomeLabelMaps = Annotated[
    Path | None,
    typer.Option(
        "--label-maps",
        help="folder of PARTICIPANT_DLMUSE.nii.gz: the bundle tells years by region, too",
        exists=True,
        file_okay=False,
    ),
]
Pages = Annotated[Path, typer.Option("--out", help="folder that table, JSON and figure are written to")]


@app.command()
def prepare(config: Config, data: Data, cache: Cache = None, jobs: Jobs = 2) -> None:
    """Check the manifest and preprocess every head into the cache."""
    prepared = _experiment(config, data, cache, jobs).prepare()
    typer.echo(f"{len(prepared.tensors)} heads on a grid of {' x '.join(map(str, prepared.tensors.shape[1:]))}")


@app.command()
def train(config: Config, data: Data, run: Run, cache: Cache = None, jobs: Jobs = 2) -> None:
    """Preprocess, fit every fold of the cross-validation, then everyone; a run that was stopped goes on."""
    with work_alone(run):
        _experiment(config, data, cache, jobs).train(run)
    typer.echo(f"fitted: {run}")


@app.command(name="fit-ages")
def fit_ages(
    config: Config, data: Data, run: Run, device: Device = "cpu", only_plan: OnlyPlan = False, cache: Cache = None,
    jobs: Jobs = 2,
) -> None:  # fmt: skip
    """Fit the recipe's age networks of every fold and of everyone; a run that was stopped goes on."""
    with work_alone(run):
        plan = _experiment(config, data, cache, jobs).plan_ages(run)
        if only_plan:
            typer.echo(f"{plan}: fit it elsewhere with python -m med3d_export.age_network PLAN FOLDER")
            return
        with tqdm(desc="age networks", unit="member") as bar:

            def show(done: int, count: int) -> None:
                bar.total = count
                bar.update(done - bar.n)

            fit_missing(plan, plan.parent, device, jobs, show)
    typer.echo(f"fitted: {plan.parent}")


@app.command()
def evaluate(config: Config, data: Data, run: Run, cache: Cache = None, jobs: Jobs = 2) -> None:
    """Score a training run beside the baselines and write its report."""
    with work_alone(run):
        scored = _experiment(config, data, cache, jobs).report(run)
    for row in scored.report.age:
        typer.echo(f"{row.name}: MAE {row.raw.mae} years, r {row.raw.r.value:.3f}")


@app.command()
def compare(config: Config, data: Data, run: Run, cache: Cache = None, jobs: Jobs = 2) -> None:
    """Fit and evaluate every objective of [comparison] on the same folds, and pair them by subject."""
    with work_alone(run):
        report = compare_objectives(
            _experiment(config, data, cache, jobs), run, lambda plan: typer.echo(plan_text(plan) + "\n")
        )
    for name, pairing in report.pairings.items():
        typer.echo(f"{report.plan.reference} - {name}: {pairing.error.difference} years")


@app.command()
def shifts(
    config: Config, data: Data, run: Run, study: Studies, heads: Heads = 12, cache: Cache = None, jobs: Jobs = 2
) -> None:
    """Spoil held-out heads, take other studies as they are, and see how well they are told from good ones."""
    with work_alone(run):
        experiment = _experiment(config, data, cache, jobs)
        trial = ShiftTrial(experiment, run, heads)
        results = trial.run(experiment.held_out(run), {folder.name: folder for folder in study}, typer.echo)
        write_shifts(results, run / "shifts")


@app.command(name="learning-curve")
def learning_curve_command(
    config: Config, data: Data, run: Run, out: Pages, heads: TrainingHeads, cache: Cache = None, jobs: Jobs = 2
) -> None:
    """Fit every fold of a run to fewer training heads too, and tell what more heads would be worth."""
    with work_alone(run):
        experiment = _experiment(config, data, cache, jobs)
        found = experiment.held_out_by_training_heads(run, heads)
    curve = learning_curve(found, experiment.labels(experiment.cohort(), experiment.prepare()), experiment.config.seed)
    for point in curve.points:
        typer.echo(f"{point.training_heads} training heads: MAE {point.groups[EVERYONE].mae} years")
    typer.echo(f"{write_learning_curve(curve, f'{experiment.config.name} {experiment.config.version}', out)}")


@app.command()
def release(
    config: Config,
    data: Data,
    run: Run,
    out: Out,
    cache: Cache = None,
    jobs: Jobs = 2,
    private: Private = False,
    sign: SigningKey = None,
    label_maps: SomeLabelMaps = None,
) -> None:
    """Make a bundle of a training run: export, parity, metrics, reference case, manifest, signature."""
    if private and label_maps:
        raise LabelMapError("a private bundle has no decoder and explains nothing: leave --label-maps out")
    key = read_signing_key(sign) if sign else None
    experiment = _experiment(config, data, cache, jobs)
    if private:
        experiment = experiment.with_linear_heads()
    with new_bundle(out):
        with work_alone(run):
            bundle = experiment.release(run, experiment.evaluate(run), out, private=private)
        if label_maps:
            bundle = add_regions(out, experiment.cohort(), experiment.prepare().tensors, label_maps, lambda: None)
        if key:
            sign_bundle(out, key)
    _say(bundle)


@app.command()
def renew(released: Released, version: Version, out: Out, sign: SigningKey = None) -> None:
    """Give a released bundle this version's preprocessing and quality limits; its weights stay as they are."""
    key = read_signing_key(sign) if sign else None
    bundle = renew_bundle(released, version, out)
    if key:
        sign_bundle(out, key)
    _say(bundle)


@app.command()
def promote(
    candidate: Candidate,
    in_place: InPlace,
    data: Data,
    report: ReportFolder,
    cache: Cache = None,
    jobs: Jobs = 2,
    only_compare: OnlyCompare = False,
) -> None:
    """Hold a bundle against the one in place on the same heads, write the comparison, then replace it."""
    in_place = in_place.absolute()
    restore_stopped(in_place)
    promotion = compare_bundles(candidate, in_place, data, cache or default_cache(), jobs, report)
    agreement = promotion.brain_age
    typer.echo(f"shift {agreement.shift} years, limits {agreement.lower_limit:.2f} to {agreement.upper_limit:.2f}")
    typer.echo(
        f"{len({crossing.head for crossing in promotion.crossings})} of {promotion.heads} heads cross a threshold"
    )
    if not only_compare:
        put_in_place(candidate, in_place)
        typer.echo(f"{promotion.candidate} is in place")
        if not (in_place / SIGNATURE).exists():
            typer.echo("nobody has signed it, so workers refuse it: med3d bundle sign")


@app.command()
def repeatability(
    bundle: Measured, data: Data, out: Pages, heads: RepeatedHeads = 24, study: DicomStudies = None, jobs: Jobs = 2
) -> None:
    """Ask a bundle about the same heads again, rewritten and as other scans would show them; tell SD and ICC."""
    chosen = chosen_heads(data, heads, study or [])
    with tqdm(total=len(chosen), desc="asking again", unit="head") as bar:
        found = measure_repeatability(bundle, chosen, jobs, bar.update)
    for score in found.together.values():
        typer.echo(f"{score.group}: SD within a head {score.within_subject_sd_years:.3f} years, {score.heads} heads")
    typer.echo(f"{write_repeatability(found, out)}")


@app.command(name="add-regions")
def add_regions_command(
    released: Released,
    version: Version,
    data: Data,
    label_maps: LabelMaps,
    out: Out,
    cache: Cache = None,
    jobs: Jobs = 2,
    sign: SigningKey = None,
) -> None:
    """Give a released bundle its table of regions, so that it explains by region; nothing else of it changes."""
    key = read_signing_key(sign) if sign else None
    cohort, tensors = _read_heads(data, released, cache, jobs)
    with tqdm(desc="label maps and heads", unit="head") as bar:
        bundle = copy_with_regions(released, version, out, cohort, tensors, label_maps, bar.update)
    if key:
        sign_bundle(out, key)
    _say_which(bundle)


@app.command()
def explanations(bundle: Measured, data: Data, out: Pages, cache: Cache = None, jobs: Jobs = 2) -> None:
    """Measure what a bundle's explanations rest on: ventricles that grow, regions that add up, shuffled weights."""
    cohort, tensors = _read_heads(data, bundle, cache, jobs)
    with tqdm(total=len(cohort) + SHUFFLES * RANDOMISED_HEADS, desc="explaining", unit="head") as bar:
        found = try_explanations(Bundle.open(bundle), tensors, cohort.ages_years, seed=0, on_done=bar.update)
    typer.echo(f"ventricles grow at every step in {found.growth.growing_share:.1%} of {found.growth.heads} heads")
    typer.echo(f"{write_explanations(found, out)}")


def _experiment(config: Path, data: Path, cache: Path | None, jobs: int) -> Experiment:
    return Experiment(read_config(config), data, cache or default_cache(), jobs)


def _read_heads(data: Path, bundle: Path, cache: Path | None, jobs: int) -> tuple[Cohort, Tensors]:
    """Read a cohort, and make its tensors (N, X, Y, Z) as the bundle's preprocessing does."""
    cohort = read_cohort(data)
    return cohort, TensorCache((cache or default_cache()) / "tensors", bundle, jobs).prepare(cohort).tensors


def _say_which(bundle: Bundle) -> None:
    typer.echo(f"{bundle.name} {bundle.version} {bundle.digest[:12]}")


def _say(bundle: Bundle) -> None:
    m = bundle.manifest.metrics
    _say_which(bundle)
    typer.echo(f"cross-validated MAE {m['brain_age_mae']:.2f} years, r {m['brain_age_r']:.2f}")
    typer.echo(f"voxels {m['baseline_voxel_kernel_ridge_mae']:.2f}, mean only {m['baseline_mean_only_mae']:.2f} years")


def run() -> None:
    """Run the program: known faults end in one clear message and exit code 2."""
    refuse_empty_words(app)
    try:
        app()
    except KNOWN_FAULTS as error:
        typer.echo(f"med3d-export: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"med3d-export: {error.filename}: {error.strerror}", err=True)
        sys.exit(2)
