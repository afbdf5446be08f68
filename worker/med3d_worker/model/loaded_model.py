"""The model bundle as a process uses it: opened, verified, proven on its reference case."""

import hashlib
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import structlog

from med3d_contract.bundle_cards import BundleCard
from med3d_contract.pictures import ReferenceCohort
from med3d_contract.results import BundleRef
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.calibration.site_calibration import CalibratedSite
from med3d_pipeline.explanation.explainer import Explainer
from med3d_pipeline.inference.prediction import Predictor
from med3d_pipeline.preprocessing.preprocess import Preprocessor
from med3d_pipeline.preprocessing.quality import MEASURE_WORDS
from med3d_pipeline.preprocessing.spec import QualityLimits
from med3d_worker.heads.pictures import reference_cohort
from med3d_worker.model.bundle_card import bundle_card
from med3d_worker.model.calibrations import load_calibrations
from med3d_worker.settings import BundleSettings

log = structlog.get_logger()

PROJECT = "infovae-med3d"
SOFTWARE = ("SimpleITK", "numpy", "nibabel", "pydicom", "onnxruntime-openvino", "onnxruntime-gpu", "onnxruntime")
MAKES_THE_TENSOR = ("brain_box.onnx", "brain_mask.onnx", "template.nii.gz", "template_mask.nii.gz")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A bundle with its sessions. ``preprocessing_digest`` names everything that turns voxels into a tensor.

    explainer: None where the bundle cannot explain.
    """

    reference: BundleRef
    preprocessor: Preprocessor
    predictor: Predictor
    quality_limits: QualityLimits
    providers: tuple[str, ...]
    preprocessing_digest: str
    software: dict[str, str]
    cohort: ReferenceCohort
    calibrations: tuple[CalibratedSite, ...] = ()
    card: BundleCard | None = None
    explainer: Explainer | None = None


def load_model(settings: BundleSettings, *, prove: bool = True) -> LoadedModel:
    """Open the bundle, verify digests and signature and, with ``prove``, run its reference case on this machine.

    Raises BundleError where files are missing or altered, no trusted key signed them and the settings ask for one, or
    the reference case is off its tolerances; CalibrationRefused where a site's calibration cannot be used.
    """
    bundle = Bundle.open(
        settings.bundle_dir,
        provider=settings.provider,
        threads=settings.threads,
        device=settings.gpu_device,
        gpu_mem_limit_bytes=settings.gpu_mem_limit_bytes,
        gpu_batch=settings.predict_batch,
        mask_precision=settings.mask_precision,
        trusted=settings.trusted_keys(),
    )
    if bundle.signed_by is None:
        log.warning("bundle_not_trusted", bundle=bundle.digest[:12])
    if prove:
        report = bundle.run_reference_case()
        log.info("reference_case_passed", report=str(report))
    calibrations = load_calibrations(settings, bundle)
    return LoadedModel(
        reference=BundleRef(name=bundle.name, version=bundle.version, digest=bundle.digest),
        preprocessor=bundle.preprocessor(),
        predictor=bundle.predictor().calibrated(calibrations),
        quality_limits=bundle.quality_limits,
        providers=bundle.providers,
        preprocessing_digest=preprocessing_digest(bundle),
        software=software_versions(),
        cohort=reference_cohort(bundle.manifest.training_data.name, bundle.predictor().space, bundle.manifest.metrics),
        calibrations=calibrations,
        card=bundle_card(bundle.manifest, bundle.signed_by, explains=bundle.explainer is not None),
        explainer=bundle.explainer,
    )


def preprocessing_digest(bundle: Bundle) -> str:
    """Return the sha256 (hex) over spec, brain networks, template, precision, the pipeline's version, and the measures.

    Not over the thresholds: they are applied to stored measures. Measures that were not taken yet are no stored ones.
    """
    digest = hashlib.sha256(f"{PROJECT} {version(PROJECT)}\nspec {bundle.spec.digest()}\n".encode())
    digest.update(f"measures {' '.join(sorted(MEASURE_WORDS))}\n".encode())
    if bundle.mask_precision != "float32":
        digest.update(f"mask {bundle.mask_precision}\n".encode())
    for name in MAKES_THE_TENSOR:
        digest.update(f"{name} {bundle.manifest.files[name]}\n".encode())
    return digest.hexdigest()


def software_versions() -> dict[str, str]:
    """Name to version of the project and of what computes."""
    found = {PROJECT: version(PROJECT), "python": platform.python_version()}
    for name in SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
