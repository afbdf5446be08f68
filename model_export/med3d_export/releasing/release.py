"""From a training run to a bundle that a worker opens, verifies and reproduces."""

import json
import platform
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from med3d_export.age_codes import use_unseen_ages, with_code_weight
from med3d_export.age_network.members import AgeMembers
from med3d_export.config import TrainingConfig
from med3d_export.evaluation.age_heads import TrainingHeads, fit_age_head, fit_head
from med3d_export.evaluation.held_out import HeldOut, site_correction
from med3d_export.evaluation.protocol import EvaluationReport
from med3d_export.heads import without_support_vectors
from med3d_export.releasing.latent_calibration import calibrated_space, decision_limits, false_alarms, without_traces
from med3d_export.releasing.manifest_metrics import NETWORK_SHARE, manifest_metrics
from med3d_export.releasing.model_card import (
    BUNDLE_LICENCE,
    licence_text,
    limits,
    model_card,
    notice_text,
    objective_name,
)
from med3d_export.releasing.monai_metadata import monai_metadata
from med3d_export.releasing.new_bundle import ReleaseError, new_bundle
from med3d_export.releasing.onnx_export import (
    check_autoencoder,
    check_chain,
    check_head,
    export_autoencoder,
    export_head,
)
from med3d_export.releasing.reference_head import write_reference_input
from med3d_export.subjects.cohort import Cohort
from med3d_export.subjects.labels import Labels
from med3d_export.subjects.tensor_cache import ASSET_FILES, read_volume
from med3d_export.training import FittedAutoencoder, Tensors
from med3d_export.training_run import FinalFit
from med3d_export.varied_heads import Copies, encode_copies
from med3d_pipeline.bundle.bundle import DECODER, Bundle
from med3d_pipeline.bundle.reference_case import FOLDER as REFERENCE_FOLDER
from med3d_pipeline.bundle.reference_case import ReferenceCase, Tolerances
from med3d_pipeline.inference import site_shifts
from med3d_pipeline.inference.latent_space import LatentSpace
from med3d_pipeline.inference.manifest import MANIFEST, HeadDescription, Manifest, TrainingData
from med3d_pipeline.reading.volume_files.nifti import digest_file
from med3d_pipeline.runtime.onnx_sessions import SessionOptions

LARGEST_BYTES = 60 * 1024 * 1024
PARITY_HEADS = 4
"""Real heads that the exported networks are held against torch on."""
TOLERANCES = Tolerances(tensor_nrmse=0.02, latent_nrmse=0.02, brain_age_years=0.5, sdmt_points=0.5)
INTENDED_USE = (
    "Research on brain age from T1-weighted MRI of adult heads. Not a medical device; not for diagnosis or treatment."
)
SOFTWARE = ("torch", "monai", "scikit-learn", "skl2onnx", "onnx", "onnxruntime-openvino", "SimpleITK", "numpy")


@dataclass(frozen=True, eq=False)
class ReleaseInput:
    """Everything a bundle is made of: the fit to everyone and what held-out subjects said of its like.

    age: the networks of the number beside the latent, where the recipe has them.
    private: the bundle holds no latent of a training subject and no decoder that could draw one.
    """

    config: TrainingConfig
    cohort: Cohort
    tensors: Tensors
    labels: Labels
    final: FinalFit
    report: EvaluationReport
    found: HeldOut
    assets: Path
    private: bool = False
    age: AgeMembers | None = None


def release_bundle(source: ReleaseInput, folder: Path) -> Bundle:
    """Write the bundle into ``folder``, check it, and return it opened; what fails leaves nothing, see new_bundle.

    Raises ParityError where an export differs from training, BundleError where the bundle does not reproduce its own
    reference case, ReleaseError where it is too large or not every subject was held out.
    """
    if not source.found.is_complete:
        raise ReleaseError("intervals need every subject held out once: train with scope = 'all-folds'")
    if source.private and source.config.evaluation.head_kernels != ("linear",):
        raise ReleaseError("a private bundle's heads are linear, and so must those be that its intervals come from")
    with new_bundle(folder):
        return _make(source, folder)


def _make(source: ReleaseInput, folder: Path) -> Bundle:
    (folder / "heads").mkdir(parents=True, exist_ok=True)
    for name in (*ASSET_FILES, "preprocessing.json"):
        shutil.copyfile(source.assets / name, folder / name)
    fitted, in_half = source.final.fitted(source.config), source.config.network.half_weights
    if in_half:
        fitted = fitted.in_half()
    if source.age is not None:
        fitted = fitted.with_age(source.age.code())
    latents, copies, answered = _latents(source, fitted, folder)
    export_autoencoder(fitted, folder, half_weights=in_half)
    checks = {"parity_networks": check_autoencoder(fitted, folder, source.tensors[:PARITY_HEADS])}
    checks |= _release_heads(source, fitted, latents, copies, folder)
    space = calibrated_space(
        source.config, source.labels, source.found, latents.astype(np.float64), answered.astype(np.float64)
    )
    if source.private:
        (folder / DECODER).unlink()
        space = without_traces(space)
    space.save(folder / "latent_space.npz")
    write_reference_input(folder)
    measured = manifest_metrics(source.report, source.found, source.labels, source.config.evaluation)
    limits = decision_limits(source.config, space)
    measured |= {name: round(value, 4) for name, value in false_alarms(limits, space).items()}
    metrics = measured | {name: float(f"{value:.3g}") for name, value in checks.items()}
    _write_texts(source, metrics, folder)
    write_reference_case(Bundle(folder, _manifest(source, metrics, folder), SessionOptions(provider="cpu")))
    manifest = _manifest(source, metrics, folder)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    bundle = Bundle.open(folder)
    bundle.run_reference_case()
    _require_size(folder)
    return bundle


def _latents(
    source: ReleaseInput, fitted: FittedAutoencoder, folder: Path
) -> tuple[npt.NDArray[np.float32], Copies, npt.NDArray[np.float32]]:
    """Return everyone's latents (N, d) as heads and maps see them, those of varied copies (C, N, d), and the encoder's.

    The encoder's own (N, d) are what a bundle answers; the others hold age codes of networks that had not seen the
    head. What all were corrected for goes into the bundle.
    """
    config, sites = source.config, source.labels.sites
    answered = fitted.encode(source.tensors)
    latents = answered.copy()
    copies = encode_copies(fitted, source.tensors, config.augmentation, config.evaluation.head_copies, config.seed)
    if source.age is not None:
        use_unseen_ages(latents, copies, source.age.unseen_codes())
    if config.evaluation.harmonisation == "none":
        return latents, copies, answered
    correction = site_correction(latents, source.labels, np.arange(len(latents)))
    correction.shifts_.save(folder / site_shifts.FILE)
    for number, copy in enumerate(copies):
        copies[number] = correction.transform(copy, sites)
    return correction.transform(latents, sites), copies, correction.transform(answered, sites)


def _release_heads(
    source: ReleaseInput, fitted: FittedAutoencoder, latents: npt.NDArray[np.float32], copies: Copies, folder: Path
) -> dict[str, float]:
    """Fit heads to every labelled subject, write them, and check each alone and behind the exported encoder.

    Returns what the checks measured, and age_network_share where there are age networks.
    """
    config, labels, settings = source.config, source.labels, source.config.evaluation
    spreads = with_code_weight(fitted.code_spreads(), config.age_network)
    heads = TrainingHeads(latents, copies, labels.ages_years, labels.subjects, spreads)
    found = {"brain_age": (fit_age_head if source.age else fit_head)(heads, settings, config.seed)}
    known = np.flatnonzero(labels.with_sdmt)
    found["sdmt"] = fit_head(replace(heads, values=labels.sdmt).part(known), settings, config.seed)
    measured = {}
    for name, search in found.items():
        head, path = search.head, folder / "heads" / f"{name}.onnx"
        if "svr" in head.named_steps and head.named_steps["svr"].kernel == "linear":
            head = without_support_vectors(head)
        export_head(head, latents.shape[1], path)
        measured[f"parity_{name}"] = check_head(head, path, latents)
        chained = check_chain(fitted, head, folder, path.name, source.tensors[:PARITY_HEADS])
        measured[f"parity_chain_{name}"] = chained
    if source.age is not None:
        measured[NETWORK_SHARE] = found["brain_age"].age_code_share
    return measured


def _write_texts(source: ReleaseInput, metrics: dict[str, float], folder: Path) -> None:
    population = source.config.population
    texts = {
        "docs/README.md": model_card(
            source.config, source.cohort, metrics, source.labels.sdmt_evidence, source.final.minutes
        ),
        "LICENSE": licence_text(population),
        "NOTICE": notice_text(population),
        "configs/metadata.json": json.dumps(monai_metadata(source.config, source.tensors.shape[1:]), indent=2) + "\n",
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_reference_case(draft: Bundle) -> None:
    """Write what ``draft``, on ONNX Runtime's own CPU kernels, gives for its reference case's input."""
    volume = read_volume(draft.path / REFERENCE_FOLDER / "input.nii.gz")
    tensor = draft.tensor(volume)
    latent = draft.latent(tensor)
    brain_age, sdmt = draft.estimates(latent)
    ReferenceCase(volume, tensor, latent, brain_age, sdmt, TOLERANCES).save(draft.path)


def _manifest(source: ReleaseInput, metrics: dict[str, float], folder: Path) -> Manifest:
    config, ages = source.config, source.cohort.ages_years
    population = config.population
    space = LatentSpace.load(folder / "latent_space.npz")
    return Manifest(
        name=config.name,
        version=config.version,
        description=f"{objective_name(config)} encoder with support vector regression heads for brain age "
        "from T1-weighted head MRI",
        intended_use=INTENDED_USE,
        limits=limits(source.labels.sdmt_evidence),
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
        latent_dimension=config.latent_dimension,
        brain_age=HeadDescription(unit="a", evidence="chronological age of healthy adults"),
        sdmt=HeadDescription(unit="{points}", evidence=source.labels.sdmt_evidence),
        decision=decision_limits(config, space),
        metrics=metrics,
        software={"python": platform.python_version(), **{name: version(name) for name in SOFTWARE}},
        files=file_digests(folder),
    )


def file_digests(folder: Path) -> dict[str, str]:
    """Return the sha256 (hex) of every file of a bundle by its path in it, but for the manifest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in files}


def _require_size(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > LARGEST_BYTES:
        raise ReleaseError(f"the bundle has {size / 2**20:.1f} MB; {LARGEST_BYTES / 2**20:.0f} MB are allowed")
