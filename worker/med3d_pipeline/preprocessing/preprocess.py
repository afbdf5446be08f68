"""From a head in its scanner's space to the tensor that the encoder takes."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from med3d_pipeline.preprocessing.alignment.registration import AffineRegistration, registration_failed
from med3d_pipeline.preprocessing.alignment.template import Template, grid_affine
from med3d_pipeline.preprocessing.bias_field import correct_bias_field
from med3d_pipeline.preprocessing.black_level import BlackLevel, raise_to_black, require_measured
from med3d_pipeline.preprocessing.brain_extraction import (
    BrainMask,
    BrainNetworks,
    enclosing_box,
    extract_brain,
    no_brain,
)
from med3d_pipeline.preprocessing.connected_parts import Mask
from med3d_pipeline.preprocessing.cropping import box_around, count_voxels, crop, move_into_box
from med3d_pipeline.preprocessing.hounsfield import refuse_hounsfield_units
from med3d_pipeline.preprocessing.image_content import Content, find_content
from med3d_pipeline.preprocessing.intensity import scale_robustly
from med3d_pipeline.preprocessing.itk_threads import itk_threads
from med3d_pipeline.preprocessing.measures.contrast import find_tissues
from med3d_pipeline.preprocessing.measures.quality_measures import QualityEvidence, measure_quality
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.resampling import coarsen, coarsening_factors, prefilter, resample
from med3d_pipeline.preprocessing.spec import PreprocessSpec
from med3d_pipeline.preprocessing.working_views import View, make_later_views
from med3d_pipeline.volume import Affine, Volume, Voxels

OnStage = Callable[[str], None]
# The voxels around the brain that the later steps may look at.
MARGIN_MM = 12.0
# Of the working grid along each axis: the filters need as many voxels, and no brain is thinner.
LEAST_VOXELS = 4
# Heads in T1 contrast that lie as their headers say have 0.39 or more, those that lie otherwise 0.24 or less.
TISSUES_IN_PLACE = 0.35


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """A head in the template's space.

    tensor: (X, Y, Z) float32 on the spec's grid, 0 outside the brain, its percentiles scaled to 0 and 1.
    tensor_affine: (4, 4) float64, the tensor's voxels to the template's RAS+ mm.
    template_to_native: (4, 4) float64, the template's RAS+ mm to the scanner's.
    brain_mask: (X, Y, Z) uint8 in native space, axes closest to RAS; native_affine: its voxels to RAS+ mm.
    measures: quality measures by name; with them not_measured_share, the share of the image's voxels that hold no
    number, blank_slices_mm, see Content, and gain_by_turning. timings_s: seconds by stage.
    """

    tensor: Voxels
    tensor_affine: Affine
    template_to_native: Affine
    brain_mask: Mask
    native_affine: Affine
    measures: dict[str, float]
    timings_s: dict[str, float]

    def digest(self) -> str:
        """Return sha256 of the tensor's shape and bytes, hex."""
        tensor = np.ascontiguousarray(self.tensor, dtype="<f4")
        return hashlib.sha256(str(tensor.shape).encode() + tensor.tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class BrainFound:
    """A head with its brain.

    black: the whole image above its black, axes closest to RAS. content: the part of it that shows anything. seen: that
    part. head: it on the working grid. brain: of head. seen_mask: (X, Y, Z) uint8 on seen. mask: it on the whole image.
    """

    black: BlackLevel
    content: Content
    seen: Volume
    head: Volume
    brain: BrainMask
    seen_mask: Mask
    mask: Mask


@dataclass
class _Stages:
    on_stage: OnStage
    timings_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.on_stage(name)
        start = time.perf_counter()
        yield
        self.timings_s[name] = time.perf_counter() - start


class Preprocessor:
    """Brain extraction, bias field, alignment, resampling and scaling, with the spec and assets of one bundle.

    The tensor depends on neither the array's axis order nor on the number of threads.
    """

    def __init__(self, spec: PreprocessSpec, template: Template, networks: BrainNetworks, threads: int = 2) -> None:
        self.spec = spec
        self.template = template
        self.networks = networks
        self.threads = threads
        self.register = AffineRegistration(template, spec.registration)
        self.tissues = find_tissues(template, spec)

    def __call__(self, volume: Volume, on_stage: OnStage = lambda _: None) -> Preprocessed:
        """Preprocess one head. ``on_stage`` hears each stage's name as it begins.

        Raises InputRefused for an image that is a CT, not finite, constant, without a brain, or cannot be aligned; the
        other measures are for ``judge_quality``.
        """
        stages = _Stages(on_stage)
        spec = self.spec
        with itk_threads(self.threads):
            with stages.stage("brain extraction"):
                found = self.find_brain(volume)
                require_measured(found.mask, found.black)
            with stages.stage("bias field"):
                corrected = correct_bias_field(self.views(found), spec.bias_field)
                head, share = corrected[0].head, corrected[0].share
            with stages.stage("registration"):
                brain = Volume(voxels=head.voxels * share.voxels, affine=head.affine)
                alignment = self.register(brain)
            with stages.stage("resampling"):
                grid = self.tensor_grid
                tensor = self.tensor(corrected, grid, alignment.template_to_native)
            with stages.stage("quality measures"):
                measures = measure_quality(
                    QualityEvidence(found.seen, found.seen_mask, share, alignment, self.template, tensor, self.tissues)
                )
                measures |= {
                    "not_measured_share": found.black.not_measured_share,
                    "blank_slices_mm": found.content.blank_slices_mm,
                    "gain_by_turning": self.gain_by_turning(brain, measures["tissue_correlation"]),
                }
        return Preprocessed(
            tensor=tensor,
            tensor_affine=grid,
            template_to_native=alignment.template_to_native,
            brain_mask=found.mask,
            native_affine=found.black.volume.affine,
            measures=measures,
            timings_s=stages.timings_s,
        )

    @property
    def tensor_grid(self) -> Affine:
        """(4, 4) float64, the tensor's voxels to the template's RAS+ mm."""
        return grid_affine(self.template, self.spec)

    def find_brain(self, volume: Volume) -> BrainFound:
        """Find the brain in a head. Raises InputRefused for a CT, a constant image, and one without a brain."""
        refuse_hounsfield_units(volume)
        black = raise_to_black(to_closest_ras(volume))
        content = find_content(black.volume)
        seen = crop(black.volume, content.box)
        head = coarsen(seen, self.spec.working_grid_mm)
        if min(head.shape) < LEAST_VOXELS:  # such as one slice that was kept of all
            raise no_brain()
        brain = extract_brain(head, self.networks)
        seen_mask = brain.on(seen)
        mask = np.zeros(black.volume.shape, dtype=np.uint8)
        mask[content.box] = seen_mask
        return BrainFound(black, content, seen, head, brain, seen_mask, mask)

    def gain_by_turning(self, brain: Volume, tissue_correlation: float) -> float:
        """See ``AffineRegistration.gain_by_turning``; 0 where the tissues lie as in the template (it takes 0.1 s)."""
        return 0.0 if tissue_correlation > TISSUES_IN_PLACE else self.register.gain_by_turning(brain)

    def views(self, found: BrainFound) -> tuple[View, ...]:
        """Return what the steps after brain extraction see: the brain's surroundings, on each of the working grids."""
        share = found.brain.share()
        steps = coarsening_factors(share, self.spec.bias_field.grid_mm)
        near = box_around(share.voxels > 0, share.spacing_mm, MARGIN_MM, steps)
        if min(count_voxels(near)) < LEAST_VOXELS:
            raise no_brain()
        first = View(crop(found.head, near), crop(share, near))
        return (first, *make_later_views(found.seen, found.seen_mask, self.spec.working_grid_mm, near))

    def tensor(self, views: Sequence[View], grid: Affine, template_to_native: Affine) -> Voxels:
        """Return the head on the grid, seen as its views are on average, scaled and faded out where the brain ends."""
        covered = self._seen(views[0].share, self.spec.shape, grid, template_to_native)
        if not covered.max() > 0:
            raise registration_failed()
        box = enclosing_box((covered > 0).view(np.uint8))  # what lies beyond fades to nothing, whatever it is
        seen = np.zeros_like(covered)
        onto = (count_voxels(box), move_into_box(grid, box), template_to_native)
        seen[box] = np.mean([self._seen(view.head, *onto) for view in views], axis=0)
        try:
            return scale_robustly(seen, covered, self.spec.intensity)
        except ValueError as error:
            raise registration_failed() from error

    def _seen(self, image: Volume, shape: tuple[int, int, int], grid: Affine, template_to_native: Affine) -> Voxels:
        blurred = prefilter(image, self.spec.prefilter_fwhm * self.spec.spacing_mm)
        return resample(blurred, shape, grid, template_to_native)
