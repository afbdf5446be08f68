"""How well a series serves as the T1-weighted head scan: a score, reasons for people, and what rules it out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from med3d_pipeline.counting import counted
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.derivation import UNIFORM, derivation_remarks
from med3d_pipeline.reading.dicom_plane import Plane, SequenceFacts, facts_order
from med3d_pipeline.reading.mr_contrast import ContrastFinding, Weighting, judge_contrast
from med3d_pipeline.reading.refusals import Fault, first_fault
from med3d_pipeline.reading.series_identity import image_fault, sequence_identity
from med3d_pipeline.reading.stack_geometry import StackGeometry, assemble_stack
from med3d_pipeline.reading.volume_files.nifti import NiftiFile
from med3d_pipeline.reasons import AFTER_CONTRAST_AGENT, Reason, ReviewCode

MAX_SPACING_MM = 3.0
COARSE_TWICE_MM = 2.5  # a voxel may be longer along one axis; along two it costs years (decision 0300)
SPACING_ROUNDING_MM = 0.0005
MIN_EXTENT_MM = 100.0  # less than this along any axis cannot hold a brain
GOOD_EXTENT_MM = 150.0
GOOD_SPACING_MM = 1.25
COARSEST_MADE_FROM_MM = 2.0  # the training's own voxels; headers round
_FINER = "Send the three-dimensional T1-weighted scan (about 1 mm) of the examination."

T1_POINTS = 60.0
GOOD_CONTRAST = 0.13  # white over grey matter, as spoiled gradient echoes at their best angle have it
UNKNOWN_CONTRAST_POINTS = 25.0
_NO_CONTRASTS = frozenset({"T1", "anatomy", "contrast agent", "mpr", "reformat"})


@dataclass(frozen=True, slots=True)
class Appraisal:
    """score: 0 to 100. fault: what rules the series out, or None. review: what a person should know if it is used."""

    score: float
    reasons: tuple[str, ...]
    fault: Fault | None
    review: tuple[Reason, ...]
    is_t1_weighted: bool


@dataclass
class _Tally:
    """Points and words collected while looking at a series."""

    points: float = 0.0

    def __post_init__(self) -> None:
        self.reasons: list[str] = []
        self.review: list[Reason] = []
        self.faults: list[Fault] = []

    def note(self, points: float, reason: str) -> None:
        self.points += points
        sign = f"{points:+g}: " if points else ""
        self.reasons.append(sign + reason)

    def mark(self, code: ReviewCode, sentence: str) -> None:
        self.review.append(Reason(code, sentence))

    def appraisal(self, is_t1_weighted: bool) -> Appraisal:
        fault = first_fault(self.faults)
        score = round(min(max(self.points, 0.0), 100.0), 1)
        reasons = (*self.reasons, *(f"cannot be used ({each.code}): {each.reason}" for each in self.faults))
        return Appraisal(score, tuple(reasons), fault, tuple(self.review), is_t1_weighted)


def appraise_stack(stack: Sequence[Plane]) -> tuple[Appraisal, StackGeometry | None]:
    """Appraise one stack of DICOM planes; the geometry is None where the planes form no volume."""
    tally = _Tally()
    facts = typical_facts(stack)
    identity = image_fault(facts)
    if identity is not None:
        tally.faults.append(identity)
    finding = _weigh_contrast(tally, facts)
    _weigh_circumstances(tally, facts, stack)
    geometry = None
    states = Counter(plane.pixel_data for plane in stack)
    if states["absent"]:
        which = counted(states["absent"], "holds", "hold")
        reason = f"Of {len(stack)} images {which} no pixel data. Send the series again, with its images."
        tally.faults.append(Fault("no_pixel_data", reason))
    if states["truncated"]:
        which = counted(states["truncated"], "ends", "end")
        reason = f"Of {len(stack)} images {which} too early. Send the series again, complete."
        tally.faults.append(Fault("truncated_pixel_data", reason))
    try:
        geometry = assemble_stack(stack)
    except InputRefused as refusal:
        tally.faults.append(Fault(refusal.code, refusal.reason))
    else:
        _weigh_geometry(tally, geometry.spacing_mm, geometry.extent_mm, slice_axis=2)
    return tally.appraisal(finding.weighting is Weighting.T1), geometry


def appraise_nifti(nifti: NiftiFile) -> Appraisal:
    """Appraise a NIfTI file, of which only the geometry is known."""
    tally = _Tally()
    tally.note(UNKNOWN_CONTRAST_POINTS, "NIfTI says nothing of modality or contrast: neither was checked")
    if nifti.fault is not None:
        tally.faults.append(nifti.fault)
    elif nifti.affine is not None:
        spacing = nifti.spacing_mm
        x, y, z = (count * step for count, step in zip(nifti.shape, spacing, strict=True))
        _weigh_geometry(tally, spacing, (x, y, z), slice_axis=spacing.index(max(spacing)))
    return tally.appraisal(is_t1_weighted=False)


def typical_facts(stack: Sequence[Plane]) -> SequenceFacts:
    """Return the facts that most planes share; between equals the choice depends on content alone."""
    counts = Counter(plane.facts for plane in stack)
    most = max(counts.values())
    return min((facts for facts, count in counts.items() if count == most), key=facts_order)


def _weigh_contrast(tally: _Tally, facts: SequenceFacts) -> ContrastFinding:
    """Coded attributes and MR physics decide; the description shifts the score, or tips what nothing else tells."""
    finding = sequence_identity(facts) or judge_contrast(facts)
    named_t1 = "T1" in facts.description_hints
    named_other = facts.description_hints - _NO_CONTRASTS
    if finding.weighting is Weighting.OTHER:
        tally.note(0, finding.reason)
        tally.faults.append(
            Fault(
                "no_t1w_series",
                f"The series is not T1-weighted ({finding.reason}). Send the three-dimensional T1-weighted head scan "
                "(such as MPRAGE, BRAVO, FSPGR or T1-TFE).",
            )
        )
        if named_t1:
            tally.note(0, "the description says T1, the acquisition does not")
    elif finding.weighting is Weighting.T1:
        share = 1.0 if finding.strength is None else min(finding.strength / GOOD_CONTRAST, 1.0)
        tally.note(round(T1_POINTS * (0.6 + 0.4 * share), 1), f"T1-weighted: {finding.reason}")
        if "SE" in facts.scanning_sequence or facts.echo_pulse_sequence == "SPIN":
            tally.note(-10, "spin echo; the model was made for gradient echoes")
        if named_other and not named_t1:
            tally.note(-5, f"the description speaks of {', '.join(sorted(named_other))}")
    else:
        tally.note(UNKNOWN_CONTRAST_POINTS, f"contrast unknown: {finding.reason}")
        tally.mark(ReviewCode.CONTRAST_UNKNOWN, "The headers do not tell the contrast: T1 weighting was not checked.")
        if named_other and not named_t1:
            tally.faults.append(
                Fault(
                    "no_t1w_series",
                    f"Nothing in the headers shows T1 weighting, and the description speaks of "
                    f"{', '.join(sorted(named_other))}. Send the three-dimensional T1-weighted head scan, with its "
                    "acquisition parameters (repetition, echo and inversion time).",
                )
            )
    if named_t1 and finding.weighting is not Weighting.OTHER:
        tally.note(5, "the description says T1 (weak evidence)")
    return finding


def _weigh_circumstances(tally: _Tally, facts: SequenceFacts, stack: Sequence[Plane]) -> None:
    if facts.acquisition_type == "3D":
        tally.note(10, "three-dimensional acquisition")
    elif facts.acquisition_type == "2D":
        tally.note(0, "two-dimensional acquisition")
        tally.mark(
            ReviewCode.TWO_DIMENSIONAL,
            "The acquisition is two-dimensional; the model was made for three-dimensional scans.",
        )
    else:
        tally.note(4, "two- or three-dimensional acquisition is not stated")
    if facts.contrast_agent:
        tally.note(-20, "acquired after contrast agent")
        tally.mark(ReviewCode.CONTRAST_AGENT, AFTER_CONTRAST_AGENT.sentence)
    elif "contrast agent" in facts.description_hints:
        tally.note(-5, "the description hints at contrast agent (weak evidence)")
        tally.mark(
            ReviewCode.CONTRAST_AGENT_POSSIBLE,
            "The description speaks of a contrast agent; the model was made for scans without.",
        )
    if UNIFORM & set(facts.image_type):
        tally.note(-10, "MP2RAGE uniform image: its background is noise")
        tally.mark(ReviewCode.NOISY_BACKGROUND, "This is an MP2RAGE uniform image, whose background is noise.")
    for remark in derivation_remarks(facts):
        tally.note(-10, remark.sentence)
        tally.review.append(remark)
    if facts.description_hints & {"mpr", "reformat"}:
        tally.note(-5, "the description hints at a reformat (weak evidence)")
    if (facts.echo_number or 1) > 1:
        tally.note(-10, f"echo {facts.echo_number:g} of a multi-echo acquisition")
    if len({plane.facts for plane in stack}) > 1:
        tally.note(0, "acquisition parameters vary between slices")


def _weigh_geometry(
    tally: _Tally, spacing_mm: tuple[float, float, float], extent_mm: tuple[float, float, float], slice_axis: int
) -> None:
    finest, middle, coarsest = sorted(spacing_mm)
    through = spacing_mm[slice_axis]
    in_plane = max(spacing for axis, spacing in enumerate(spacing_mm) if axis != slice_axis)
    if through > MAX_SPACING_MM + SPACING_ROUNDING_MM:
        reason = f"The slices are {through:.2f} mm apart; at most {MAX_SPACING_MM:g} mm can be used. {_FINER}"
        tally.faults.append(Fault("through_plane_too_coarse", reason))
    if in_plane > MAX_SPACING_MM + SPACING_ROUNDING_MM:
        reason = f"The pixels are {in_plane:.2f} mm apart; at most {MAX_SPACING_MM:g} mm can be used. {_FINER}"
        tally.faults.append(Fault("in_plane_too_coarse", reason))
    elif middle > COARSE_TWICE_MM + SPACING_ROUNDING_MM:
        sides = " x ".join(f"{side:.2f}" for side in spacing_mm)
        reason = f"The voxels measure {sides} mm; at most one side may be longer than {COARSE_TWICE_MM:g} mm. {_FINER}"
        tally.faults.append(Fault("in_plane_too_coarse", reason))
    share = min(max((MAX_SPACING_MM - coarsest) / (MAX_SPACING_MM - GOOD_SPACING_MM), 0.0), 1.0)
    tally.note(round(15 * share, 1), f"coarsest voxel side {coarsest:.2f} mm")
    if round(coarsest, 1) > COARSEST_MADE_FROM_MM:
        sides = f"{coarsest:.1f} mm on every side" if finest > 0.95 * coarsest else f"{finest:.1f} to {coarsest:.1f} mm"
        tally.mark(
            ReviewCode.THICK_SLICES,
            f"The voxels measure {sides}. The model was made from voxels of at most "
            f"{COARSEST_MADE_FROM_MM:g} mm; thick slices are those of a two-dimensional acquisition as a rule.",
        )
    shortest = min(extent_mm)
    share = min(max((shortest - MIN_EXTENT_MM) / (GOOD_EXTENT_MM - MIN_EXTENT_MM), 0.0), 1.0)
    tally.note(round(10 * share, 1), f"covers {extent_mm[0]:.0f} x {extent_mm[1]:.0f} x {extent_mm[2]:.0f} mm")
    if shortest < MIN_EXTENT_MM:
        tally.faults.append(
            Fault(
                "insufficient_coverage",
                f"The scan covers only {shortest:.0f} mm along one axis, too little for a whole brain. "
                "Send a scan of the whole head, not a slab or a part of the series.",
            )
        )
