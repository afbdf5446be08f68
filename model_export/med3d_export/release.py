"""From a training run to a bundle that a worker opens, verifies and reproduces."""

import hashlib
import json
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from med3d_export.calibration import age_bias, corrected_gaps
from med3d_export.cohort import Cohort
from med3d_export.config import TrainingConfig
from med3d_export.evaluation import Evaluation
from med3d_export.folds import Fold
from med3d_export.heads import fit_head
from med3d_export.latent_maps import pca_map, pls_map, shrunk_covariance
from med3d_export.model_card import BUNDLE_LICENCE, LIMITS, licence_text, model_card, notice_text
from med3d_export.monai_metadata import monai_metadata
from med3d_export.onnx_export import check_autoencoder, check_head, export_autoencoder, export_head
from med3d_export.reference_head import write_reference_input
from med3d_export.tensor_cache import ASSET_FILES, read_volume
from med3d_export.training import Tensors
from med3d_export.training_run import TrainingRun
from med3d_pipeline.bundle import MANIFEST, Bundle
from med3d_pipeline.latent_space import LatentSpace
from med3d_pipeline.manifest import SIMULATED_LABELS, DecisionLimits, HeadDescription, Manifest, TrainingData
from med3d_pipeline.onnx_sessions import SessionOptions
from med3d_pipeline.reference_case import FOLDER as REFERENCE_FOLDER
from med3d_pipeline.reference_case import ReferenceCase, Tolerances

Floats = npt.NDArray[np.float64]
LARGEST_BYTES = 60 * 1024 * 1024
TOLERANCES = Tolerances(tensor_nrmse=0.02, latent_nrmse=0.02, brain_age_years=0.5, sdmt_points=0.5)
INTENDED_USE = (
    "Research on brain age from T1-weighted MRI of adult heads. Not a medical device; not for diagnosis or treatment."
)
SOFTWARE = ("torch", "monai", "scikit-learn", "skl2onnx", "onnx", "onnxruntime-openvino", "SimpleITK", "numpy")


class ReleaseError(Exception):
    """The bundle cannot be released; the message says why."""


@dataclass(frozen=True, eq=False)
class ReleaseInput:
    """Everything a bundle is made of. sdmt: simulated scores (N,) in points."""

    config: TrainingConfig
    cohort: Cohort
    tensors: Tensors
    sdmt: Floats
    folds: tuple[Fold, ...]
    run: TrainingRun
    evaluation: Evaluation
    assets: Path


def release_bundle(source: ReleaseInput, folder: Path) -> Bundle:
    """Write the bundle into ``folder``, which must not exist or be empty, check it, and return it opened.

    Raises ParityError where an export differs from training, BundleError where the bundle does not reproduce its own
    reference case, ReleaseError where it is too large.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ReleaseError("the folder for the bundle is not empty")
    (folder / "heads").mkdir(parents=True, exist_ok=True)
    for name in (*ASSET_FILES, "preprocessing.json"):
        shutil.copyfile(source.assets / name, folder / name)
    fitted, inner = source.run.fitted(source.config), source.config.evaluation.inner_folds
    latents = fitted.encode(source.tensors)
    export_autoencoder(fitted, folder)
    ages = source.cohort.ages_years
    parity = {"parity_networks": check_autoencoder(fitted, folder, source.tensors[:4])}
    for name, labels in (("brain_age", ages), ("sdmt", source.sdmt)):
        head = fit_head(latents, labels, inner, source.config.seed)
        parity[f"parity_{name}"] = _release_head(head, latents, folder / "heads" / f"{name}.onnx")
    _latent_space(source, latents.astype(np.float64)).save(folder / "latent_space.npz")
    write_reference_input(folder)
    metrics = source.evaluation.metrics() | {name: float(f"{value:.3g}") for name, value in parity.items()}
    _write_texts(source, metrics, folder)
    _write_reference_case(_manifest(source, metrics, folder), folder)
    manifest = _manifest(source, metrics, folder)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    bundle = Bundle.open(folder)
    bundle.run_reference_case()
    _require_size(folder)
    return bundle


def _release_head(head: Pipeline, latents: npt.NDArray[np.float32], path: Path) -> float:
    export_head(head, latents.shape[1], path)
    return check_head(head, path, latents)


def _latent_space(source: ReleaseInput, latents: Floats) -> LatentSpace:
    ages, held_out, population = source.cohort.ages_years, source.run.out_of_fold, source.config.population
    pca, pls_age, pls_sdmt = pca_map(latents), pls_map(latents, ages), pls_map(latents, source.sdmt)
    spread = shrunk_covariance(latents)
    gaps = held_out.age_estimates - ages
    return LatentSpace(
        pca_mean=pca.mean,
        pca_axes=pca.axes,
        pls_age_mean=pls_age.mean,
        pls_age_axes=pls_age.axes,
        pls_sdmt_mean=pls_sdmt.mean,
        pls_sdmt_axes=pls_sdmt.axes,
        cohort_pca=pca(latents),
        cohort_pls_age=pls_age(latents),
        cohort_pls_sdmt=pls_sdmt(latents),
        distance_mean=spread.mean,
        distance_axes=spread.axes,
        distance_variances=spread.variances,
        distance_floor=np.float64(spread.floor) * np.ones(()),
        held_out_distances=_comparable_distances(source, len(spread.variances)),
        residuals=gaps,
        corrected_residuals=corrected_gaps(ages, gaps, source.folds),
        age_bias=age_bias(ages, gaps),
        ages=ages,
        field_strengths_t=np.array(population.field_strengths_t),
        vendors=np.array([vendor.upper() for vendor in population.vendors]),
    )


def _comparable_distances(source: ReleaseInput, directions: int) -> Floats:
    """Held-out distances (N,) on the scale of the covariance of everyone, which has more directions than a fold's.

    There are fewer subjects than dimensions, so every further subject adds a direction of variance, and squared
    distances grow with the number of directions.
    """
    distances = source.run.out_of_fold.distances.copy()
    for fold in source.folds:
        distances[fold.test] *= np.sqrt(directions / min(directions, len(fold.training) - 1))
    return distances


def _write_texts(source: ReleaseInput, metrics: dict[str, float], folder: Path) -> None:
    population = source.config.population
    texts = {
        "docs/README.md": model_card(source.config, source.cohort, metrics, source.run.minutes),
        "LICENSE": licence_text(population),
        "NOTICE": notice_text(population),
        "configs/metadata.json": json.dumps(monai_metadata(source.config, source.tensors.shape[1:]), indent=2) + "\n",
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _write_reference_case(manifest: Manifest, folder: Path) -> None:
    """Expected results, by the bundle's own files on ONNX Runtime's own CPU kernels."""
    draft = Bundle(folder, manifest, SessionOptions(provider="cpu"))
    volume = read_volume(folder / REFERENCE_FOLDER / "input.nii.gz")
    tensor = draft.tensor(volume)
    latent = draft.latent(tensor)
    brain_age, sdmt = draft.estimates(latent)
    ReferenceCase(volume, tensor, latent, brain_age, sdmt, TOLERANCES).save(folder)


def _manifest(source: ReleaseInput, metrics: dict[str, float], folder: Path) -> Manifest:
    config, ages = source.config, source.cohort.ages_years
    population, decision = config.population, config.decision
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    held_out = LatentSpace.load(folder / "latent_space.npz").held_out_distances
    return Manifest(
        name=config.name,
        version=config.version,
        description="InfoVAE encoder with support vector regression heads for brain age from T1-weighted head MRI",
        intended_use=INTENDED_USE,
        limits=LIMITS,
        licence=BUNDLE_LICENCE,
        training_data=TrainingData(
            name=population.name,
            description=population.description,
            source=population.source,
            licence=population.licence,
            subjects=len(source.cohort),
            age_range_years=(float(ages.min()), float(ages.max())),
            field_strengths_t=population.field_strengths_t,
            vendors=population.vendors,
        ),
        latent_dimension=config.network.latent,
        brain_age=HeadDescription(unit="a", evidence="chronological age of healthy adults"),
        sdmt=HeadDescription(unit="{points}", evidence=SIMULATED_LABELS),
        decision=DecisionLimits(
            interval_level=config.evaluation.interval_level,
            review_percentile=decision.review_percentile,
            refuse_distance=round(decision.refuse_factor * float(held_out.max()), 3),
            field_strength_tolerance_t=decision.field_strength_tolerance_t,
        ),
        metrics=metrics,
        software={"python": platform.python_version(), **{name: version(name) for name in SOFTWARE}},
        files={path.relative_to(folder).as_posix(): _sha256(path) for path in files},
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _require_size(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > LARGEST_BYTES:
        raise ReleaseError(f"the bundle has {size / 2**20:.1f} MB; {LARGEST_BYTES / 2**20:.0f} MB are allowed")
