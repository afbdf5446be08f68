"""A model as one folder that can be verified: networks, heads, template, calibration, reference case."""

import hashlib
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from nibabel.filebasedimages import ImageFileError
from pydantic import BaseModel, ConfigDict, ValidationError

from med3d_pipeline.bundle.bundle_signature import TrustedKeys
from med3d_pipeline.bundle.reference_case import ReferenceCase, ReferenceReport, run_reference_case
from med3d_pipeline.errors import BundleError
from med3d_pipeline.explanation import region_table
from med3d_pipeline.explanation.explainer import Explainer
from med3d_pipeline.explanation.region_table import RegionTable
from med3d_pipeline.given_paths import AnyPath, as_path
from med3d_pipeline.inference import site_shifts
from med3d_pipeline.inference.encoder import Float32, LatentEncoder
from med3d_pipeline.inference.heads import RegressionHead
from med3d_pipeline.inference.latent_space import LatentSpace
from med3d_pipeline.inference.manifest import MANIFEST, Manifest
from med3d_pipeline.inference.prediction import Predictor
from med3d_pipeline.inference.reconstruction import Reconstruction
from med3d_pipeline.inference.site_shifts import SiteShifts
from med3d_pipeline.preprocessing.alignment.template import Template, brain_on_grid
from med3d_pipeline.preprocessing.brain_extraction import BOX_GRID, MASK_GRID, BrainNetworks, axis_sizes
from med3d_pipeline.preprocessing.preprocess import Preprocessor
from med3d_pipeline.preprocessing.spec import PreprocessSpec, QualityLimits
from med3d_pipeline.runtime.fixed_batches import FixedBatches
from med3d_pipeline.runtime.onnx_sessions import OnnxSession, Precision, SessionOptions, open_session
from med3d_pipeline.volume import Volume

DEFAULT_NAME = "infovae-two-sites"
MOST_FAULTS = 3
DECODER = "decoder.onnx"
"""Left out of the bundle of a private cohort."""
REQUIRED = (
    "brain_box.onnx",
    "brain_mask.onnx",
    "encoder.onnx",
    "heads/brain_age.onnx",
    "latent_space.npz",
    "preprocessing.json",
    "reference_case/expected.npz",
    "reference_case/input.nii.gz",
    "reference_case/tolerances.json",
    "template.nii.gz",
    "template_mask.nii.gz",
)


class PreprocessingFile(BaseModel):
    """preprocessing.json: how tensors are made, and the limits of the quality gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: PreprocessSpec
    quality_limits: QualityLimits


@dataclass(frozen=True)
class PreprocessingAssets:
    """The part of a bundle that makes tensors; training uses it before there is an encoder.

    The folder holds preprocessing.json, brain_box.onnx, brain_mask.onnx, template.nii.gz and template_mask.nii.gz.
    """

    folder: Path
    options: SessionOptions

    @cached_property
    def file(self) -> PreprocessingFile:
        """preprocessing.json. Raises BundleError where it cannot be read."""
        path = self.folder / "preprocessing.json"
        try:
            return PreprocessingFile.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise BundleError(f"preprocessing.json cannot be read: {error}") from error

    def preprocessor(self) -> Preprocessor:
        """Return a preprocessor with sessions of its own.

        Raises BundleError where a network or the template is unreadable.
        """
        networks = BrainNetworks(
            box_session=open_session(self.folder / "brain_box.onnx", self.options, axis_sizes(BOX_GRID)),
            mask_session=open_session(
                self.folder / "brain_mask.onnx", self.options, axis_sizes(MASK_GRID), self.options.mask_precision
            ),
        )
        return Preprocessor(self.file.spec, self.template, networks, self.options.threads)

    @cached_property
    def template(self) -> Template:
        """Head and brain mask that everyone is aligned to, read once. Raises BundleError where they cannot be read."""
        try:
            return Template.open(self.folder / "template.nii.gz", self.folder / "template_mask.nii.gz")
        except (OSError, ValueError, ImageFileError) as error:
            raise BundleError(f"the template cannot be read: {error}") from error


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    try:
        if not path.is_file():
            raise BundleError(f"{folder} is no bundle: it has no file {MANIFEST}")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{MANIFEST} of the bundle cannot be read: {error.strerror}") from error


def _why_none(error: ValidationError) -> str:
    """Say what is wrong with a manifest in a few words, without its contents."""
    faults = error.errors(include_url=False, include_input=False)
    if any(fault["loc"] == ("format",) for fault in faults):
        return "is of a format that this release does not read; the release that made the bundle, or a later one, does"
    places = [".".join(map(str, fault["loc"])) for fault in faults]
    said = [f"{place}: {fault['msg']}" if place else fault["msg"] for place, fault in zip(places, faults, strict=True)]
    more = f"; and {len(said) - MOST_FAULTS} more" if len(said) > MOST_FAULTS else ""
    return f"is none: {'; '.join(said[:MOST_FAULTS])}{more}"


class Bundle:
    """A released model, opened; sessions are made on first use, so open it before a fork and use it after."""

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        options: SessionOptions,
        gpu_batch: int = 8,
        signed_by: str | None = None,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.signed_by = signed_by
        """The trusted key that signed it; None where nobody asked for a signature."""
        self._options = options
        self._gpu_batch = gpu_batch
        self._assets = PreprocessingAssets(path, options)

    @classmethod
    def open(
        cls,
        path: AnyPath,
        provider: str = "auto",
        threads: int = 2,
        *,
        verify: bool = True,
        device: int = 0,
        gpu_mem_limit_bytes: int | None = None,
        gpu_batch: int = 8,
        mask_precision: Precision = "float32",
        trusted: TrustedKeys | None = None,
    ) -> Self:
        """Read the manifest of the bundle at ``path`` and, unless ``verify`` is False, check every digest.

        Provider, threads, GPU and precision: see SessionOptions. ``gpu_batch`` heads are encoded at once on a GPU.
        ``trusted``: one of these keys must have signed the manifest; None for tools that make bundles themselves.

        Raises BundleError that names the file which is missing, altered or unreadable, or what the signature lacks.
        """
        path = as_path(path)
        stated = _read_manifest(path)
        try:
            manifest = Manifest.model_validate_json(stated)
        except ValidationError as error:
            raise BundleError(f"{MANIFEST} of the bundle {_why_none(error)}") from error
        missing = [name for name in REQUIRED if name not in manifest.files]
        if missing:
            raise BundleError(f"{MANIFEST} does not list {', '.join(missing)}")
        options = SessionOptions(provider, threads, device, gpu_mem_limit_bytes, mask_precision)
        bundle = cls(path, manifest, options, gpu_batch)
        if verify:
            bundle.verify_digests()
        if trusted is not None:
            bundle.signed_by = trusted.require(stated, path)
        return bundle

    @staticmethod
    def default_path() -> Path:
        """Return ``MED3D_BUNDLE``, else the bundle of this checkout, else the one that the wheel installed."""
        stated = os.environ.get("MED3D_BUNDLE")
        if stated:
            return Path(stated)
        checkout = Path(__file__).resolve().parents[3] / "model_export" / "bundles" / DEFAULT_NAME
        if (checkout / MANIFEST).is_file():
            return checkout
        return Path(sys.prefix) / "share" / "med3d" / "bundles" / DEFAULT_NAME

    @property
    def name(self) -> str:
        """As the manifest has it."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """As the manifest has it."""
        return self.manifest.version

    @property
    def digest(self) -> str:
        """sha256 of the canonical manifest, and through it of every file."""
        return self.manifest.digest

    @property
    def spec(self) -> PreprocessSpec:
        """How tensors are made."""
        return self._assets.file.spec

    @property
    def quality_limits(self) -> QualityLimits:
        """What the quality gate holds measures against."""
        return self._assets.file.quality_limits

    @property
    def sdmt_is_demonstration(self) -> bool:
        """The SDMT head learned from labels that nobody measured; report it only where that is asked for."""
        return self.manifest.sdmt is not None and self.manifest.sdmt.is_demonstration

    @property
    def mask_precision(self) -> Precision:
        """In which the brain mask's network computes."""
        return self._options.mask_precision

    @property
    def providers(self) -> tuple[str, ...]:
        """What the encoder's session really computes with, first choice first, and what is not computed in float32."""
        mask = self.mask_precision
        return (*self._encoder.providers, *([] if mask == "float32" else [f"brain mask in {mask}"]))

    def verify_digests(self) -> None:
        """Raise BundleError that names the first file which is missing, altered or outside the bundle."""
        root = self.path.resolve()
        for name, expected in sorted(self.manifest.files.items()):
            try:
                file = (self.path / name).resolve()
                if not file.is_relative_to(root):
                    raise BundleError(f"{name} leads out of the bundle")
                if file.exists() and not file.is_file():  # a pipe would be waited for
                    raise BundleError(f"{name} of the bundle is no file")
                with file.open("rb") as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise BundleError(f"{name} of the bundle cannot be read: {error.strerror}") from error
            if found != expected:
                raise BundleError(f"{name} of the bundle has been altered: its sha256 is not the manifest's")

    def preprocessor(self) -> Preprocessor:
        """Return head volume to tensor; made once."""
        return self._preprocessor

    def predictor(self) -> Predictor:
        """Return tensors to predictions.

        Made once. Raises BundleError where a network or the latent space is unreadable.
        """
        return self._predictor

    @cached_property
    def explainer(self) -> Explainer | None:
        """Tensors to explanations. None where the bundle has no decoder. Raises BundleError."""
        if DECODER not in self.manifest.files:
            return None
        regions = None
        if region_table.FILE in self.manifest.files:
            regions = RegionTable.load(self.path / region_table.FILE, self.spec.shape)
        space, voxel_ml = self._predictor.space, self.spec.spacing_mm**3 / 1000.0
        return Explainer(self._encoder, self._decoder, self._brain_age_head, space, regions, voxel_ml)

    def run_reference_case(self) -> ReferenceReport:
        """Run the reference case on this machine. Raises BundleError outside its tolerances."""
        return run_reference_case(ReferenceCase.load(self.path), self)

    def tensor(self, volume: Volume) -> Float32:
        """Return the preprocessed tensor (X, Y, Z) float32 of a head."""
        return self._preprocessor(volume).tensor

    def latent(self, tensor: Float32) -> Float32:
        """Return the latent (d,) float32 of a tensor (X, Y, Z)."""
        latent: Float32 = self._encoder.encode(tensor[None])[0]
        return latent

    def estimates(self, latent: Float32) -> tuple[float, float | None]:
        """Return brain age in years and, where the bundle has that head, SDMT in points, of a latent (d,)."""
        row = np.ascontiguousarray(latent[None])
        sdmt = float(self._sdmt_head.estimate(row)[0]) if self._sdmt_head else None
        return float(self._brain_age_head.estimate(row)[0]), sdmt

    def _session(self, name: str) -> OnnxSession:
        return open_session(self.path / name, self._options)

    def _batched_session(self, name: str) -> OnnxSession | FixedBatches:
        session = self._session(name)
        return FixedBatches(session, self._gpu_batch) if session.on_gpu else session

    def _head_session(self, name: str) -> OnnxSession:
        # Support vector regression is an operator that only ONNX Runtime's own CPU kernels know.
        return open_session(self.path / name, SessionOptions(provider="cpu", threads=1))

    @cached_property
    def _preprocessor(self) -> Preprocessor:
        return self._assets.preprocessor()

    @cached_property
    def _encoder(self) -> LatentEncoder:
        return LatentEncoder(self._batched_session("encoder.onnx"), self.spec.shape, self.manifest.latent_dimension)

    @cached_property
    def _brain_age_head(self) -> RegressionHead:
        return RegressionHead("brain age", self._head_session("heads/brain_age.onnx"))

    @cached_property
    def _sdmt_head(self) -> RegressionHead | None:
        return RegressionHead("SDMT", self._head_session("heads/sdmt.onnx")) if self.manifest.sdmt else None

    @cached_property
    def _predictor(self) -> Predictor:
        space = LatentSpace.load(self.path / "latent_space.npz")
        if space.dimension != self.manifest.latent_dimension:
            raise BundleError("latent_space.npz has another dimension than the manifest")
        evidence = self.manifest.sdmt.evidence if self.manifest.sdmt else None
        return Predictor(
            self._encoder, self._brain_age_head, self._sdmt_head, evidence, space, self.manifest.decision,
            self._reconstruction(space), self._site_shifts(),
        )  # fmt: skip

    @cached_property
    def _decoder(self) -> OnnxSession | FixedBatches:
        return self._batched_session(DECODER)

    def _site_shifts(self) -> SiteShifts | None:
        """Return it; None where the bundle corrects for no sites."""
        if site_shifts.FILE not in self.manifest.files:
            return None
        return SiteShifts.load(self.path / site_shifts.FILE, self.manifest.latent_dimension)

    def _reconstruction(self, space: LatentSpace) -> Reconstruction | None:
        """Return it; None where there is no decoder, or nothing to hold its errors against."""
        if DECODER not in self.manifest.files or not len(space.held_out_reconstruction_errors):
            return None
        return Reconstruction(self._decoder, brain_on_grid(self._assets.template, self.spec))
