"""What coded attributes say outright: no MR, a capture, colour, derived; or a sequence that is never T1w anatomy."""

import re

from med3d_pipeline.reading.derivation import UNIFORM, derivation_fault
from med3d_pipeline.reading.dicom_plane import SequenceFacts
from med3d_pipeline.reading.dixon import ANATOMY, dixon_part
from med3d_pipeline.reading.mr_contrast import (
    LONGEST_ECHO_SPACING_MS,
    ContrastFinding,
    Weighting,
    is_prepared,
    is_spin_echo,
    judge_contrast,
)
from med3d_pipeline.reading.refusals import Fault

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_COLOUR = f"{MR_IMAGE}.3"
# Classic, Enhanced, Enhanced in colour, Legacy Converted Enhanced.
MR_IMAGE_CLASSES = frozenset({MR_IMAGE, f"{MR_IMAGE}.1", ENHANCED_MR_COLOUR, f"{MR_IMAGE}.4"})
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_MODALITIES = {
    "CT": "computed tomography,",
    "PT": "positron emission tomography,",
    "NM": "nuclear medicine,",
    "US": "ultrasound,",
    "XA": "X-ray angiography,",
    "CR": "radiographs,",
    "DX": "radiographs,",
    "SEG": "a segmentation,",
}
_PHASE = frozenset({"P", "PHASE", "R", "REAL", "I", "IMAGINARY", "PHASE MAP", "P_FFE", "R_FFE", "I_FFE", "P_SE"})
_MAPS = frozenset(
    {
        "ADC", "FA", "TRACEW", "DIFFUSION", "T1 MAP", "T1_MAP", "T2 MAP", "T2_MAP", "T2_STAR_MAP", "R2_MAP", "R2*_MAP",
        "B0", "B1", "B0 MAP", "B1 MAP", "B0_MAP", "B1_MAP", "M_B0", "M_B1", "FIELD_MAP", "FIELDMAP", "FLIP ANGLE MAP",
        "VELOCITY", "PERFUSION", "ASL", "CBF", "CBV", "MTT", "TTP", "RELCBF", "FAT_FRACTION", "MOSAIC", "FMRI", "SWI",
        "MNIP", "FF", "WATER_FRACTION",
    }
)  # fmt: skip
_INVERSIONS = frozenset({"INV1", "INV2"})
_LOCALIZER = frozenset({"LOCALIZER", "SCOUT", "SURVEY", "OVERVIEW"})
_OTHER_CONTRASTS = {
    "DIFFUSION": "diffusion",
    "PERFUSION": "perfusion",
    "FLOW_ENCODED": "flow",
    "TOF": "time of flight",
    "TAGGING": "tagging",
    "FLUID_ATTENUATED": "fluid attenuation",
    "STIR": "short-tau inversion recovery",
    "SPECTROSCOPY": "spectroscopy",
}
_RELAXATION_CONTRASTS = {"T2", "T2_STAR", "PROTON_DENSITY"}
# Siemens names its sequences by family; these families are never T1-weighted anatomy.
_SIEMENS_FAMILIES = {
    "fm2d": "field map",
    "fm3d": "field map",
    "ep": "echo-planar",
    "tfi": "balanced steady state",
    "ci3d": "balanced steady state",
    "fi3d": "time-of-flight angiography",
    "fi2d": "time-of-flight angiography",
    "swi": "susceptibility",
    "h2d": "single-shot turbo spin echo",
    "de3d": "double-echo steady state",
    "pc3d": "phase contrast",
    "pc2d": "phase contrast",
}


# What shares its timing with T1-weighted gradient echoes, so that only names tell it: of the sequence, or in words.
_SEQUENCE_WORDS = {
    "tof": "time-of-flight angiography",
    "swi": "susceptibility",
    "swan": "susceptibility",
    "scout": "localizer",
    "b1": "map of the transmit field",
    "b1map": "map of the transmit field",
}
_FLOW_COMPENSATED = re.compile(r"fl3d\d+r")  # Siemens: r for gradients that rephase flow
LARGEST_INFLOW_FLIP_DEG = 25.0  # larger angles saturate the blood that flows in; T1-weighted anatomy takes 30 and more
_DESCRIBED_RIVALS = ("calibration", "angiography", "susceptibility", "field map", "localizer")
_DESCRIBED_CONTRADICTIONS = frozenset({"T2", "FLAIR", "PD", "diffusion", "functional"})


def image_fault(facts: SequenceFacts) -> Fault | None:
    """Tell what the kind of object rules out, before any question of contrast; what was derived last."""
    judges = (_captured_fault, _burned_in_fault, _modality_fault, _colour_fault, derivation_fault)
    return next((fault for judge in judges if (fault := judge(facts)) is not None), None)


def _captured_fault(facts: SequenceFacts) -> Fault | None:
    if facts.sop_class == SECONDARY_CAPTURE or facts.sop_class.startswith(SECONDARY_CAPTURE + "."):
        return Fault(
            "secondary_capture",
            "The images are secondary captures (screenshots or scanned film), not what the scanner measured. "
            "Send the original MR series from the scanner or the PACS.",
        )
    return None


def _burned_in_fault(facts: SequenceFacts) -> Fault | None:
    if facts.burned_in_text:
        return Fault(
            "burned_in_text",
            "The images say of themselves that text is burnt into them (BurnedInAnnotation YES), which hides what lies "
            "under it and may name the patient. Send the original MR series from the scanner or the PACS.",
        )
    return None


def _modality_fault(facts: SequenceFacts) -> Fault | None:
    other_class = bool(facts.sop_class) and facts.sop_class not in MR_IMAGE_CLASSES
    if facts.modality not in {"MR", ""} or other_class:
        seen = f"The images are {_MODALITIES[facts.modality]}" if facts.modality in _MODALITIES else "The images are"
        return Fault("not_mr", f"{seen} not magnetic resonance. Send the T1-weighted MR scan of the head.")
    if not facts.modality and not facts.sop_class:
        return Fault(
            "not_mr",
            "The files name neither a modality nor a class of image, so nothing says that they are magnetic resonance. "
            "Send the MR series from the scanner or the PACS, with Modality (0008,0060).",
        )
    return None


def _colour_fault(facts: SequenceFacts) -> Fault | None:
    if (
        facts.samples_per_pixel != 1
        or not facts.photometric.startswith("MONOCHROME")
        or facts.sop_class == ENHANCED_MR_COLOUR
    ):
        return Fault(
            "unsupported_colour",
            "The images are in colour, as maps, fusions and screenshots are. Send the scanner's grey-value images.",
        )
    return None


def sequence_identity(facts: SequenceFacts) -> ContrastFinding | None:
    """Return a finding where coded attributes settle the contrast, else None: then MR physics is asked."""
    if UNIFORM & set(facts.image_type):
        return ContrastFinding(Weighting.T1, "uniform image of an MP2RAGE acquisition")
    other = _other_by_code(facts) or _other_by_sequence(facts) or _other_by_description(facts)
    if other is not None:
        return ContrastFinding(Weighting.OTHER, other)
    if facts.acquisition_contrast in {"T1", *_RELAXATION_CONTRASTS}:
        return _coded_relaxation(facts)
    if _rephases_flow(facts) and "T1" not in facts.description_hints:
        return _unsettled_by_flow(facts)
    return None


def _unsettled_by_flow(facts: SequenceFacts) -> ContrastFinding:
    """Leave to the voxels what times call T1 and no word does: angiography rephases flow, but so does some anatomy."""
    physics = judge_contrast(facts)
    if physics.weighting is not Weighting.T1:
        return physics
    return ContrastFinding(Weighting.UNKNOWN, f"{physics.reason}, flow-compensated as T1-weighted anatomy seldom is")


def _coded_relaxation(facts: SequenceFacts) -> ContrastFinding:
    """Believe a stated relaxation contrast where TR, TE, TI and flip angle do not contradict it."""
    physics = judge_contrast(facts)
    coded = Weighting.T1 if facts.acquisition_contrast == "T1" else Weighting.OTHER
    if physics.weighting is coded:
        return physics
    name = facts.acquisition_contrast.replace("_", " ")
    if physics.weighting is Weighting.UNKNOWN:
        return ContrastFinding(coded, f"the scanner states {name} contrast")
    if physics.weighting is Weighting.OTHER:
        return ContrastFinding(Weighting.OTHER, f"{physics.reason}, although the scanner states {name} contrast")
    return ContrastFinding(Weighting.UNKNOWN, f"the scanner states {name} contrast, TR, TE and flip angle say T1")


def _other_by_code(facts: SequenceFacts) -> str | None:
    kind, details = set(facts.image_type), set(facts.image_type[2:])
    stated = _OTHER_CONTRASTS.get(facts.acquisition_contrast)
    part = dixon_part(facts)
    findings = (
        (kind & _LOCALIZER, "localizer"),
        (details & _PHASE, "phase, real or imaginary part: no magnitude image"),
        (facts.component in {"PHASE", "REAL", "IMAGINARY"}, "phase, real or imaginary part: no magnitude image"),
        (kind & _MAPS, f"parameter map or functional image ({', '.join(sorted(kind & _MAPS)).lower()})"),
        (kind & _INVERSIONS, "one inversion of an MP2RAGE acquisition"),
        (part not in {None, *ANATOMY}, f"{part} image of a Dixon acquisition"),
        (stated, f"the scanner states {stated} contrast"),
        (facts.b_value, "diffusion-weighted"),
    )
    return next((words for found, words in findings if found), None)


def _other_by_sequence(facts: SequenceFacts) -> str | None:
    if "EP" in facts.scanning_sequence or facts.echo_planar:
        return "echo-planar imaging"
    for prefix, family in _SIEMENS_FAMILIES.items():
        if facts.sequence_name.startswith(prefix):
            return f"sequence of a {family} family"
    words = re.split(r"[^a-z0-9]+", facts.sequence_name)
    named = next((family for word, family in _SEQUENCE_WORDS.items() if word in words), None)
    if named is not None:
        return f"sequence of a {named} family"
    if facts.angiography or any("TOF" in option for option in facts.scan_options):
        return "angiography"
    return _other_by_gradients(facts)


def _other_by_gradients(facts: SequenceFacts) -> str | None:
    """Name what gradient echoes without inversion are for when they saturate bound water, or rephase flow and await it.

    Rephased flow alone tells nothing: T1-weighted anatomy can have it, too.
    """
    if _rephases_flow(facts) and _awaits_inflow(facts):
        return f"flow-compensated 3D gradient echo with TR {facts.tr_ms:g} ms: angiography or susceptibility imaging"
    if "MTC" in facts.sequence_variant and _is_steady_3d(facts) and _is_coded_3d_gradient(facts):
        return "3D gradient echo with magnetization transfer: angiography or a parameter map"
    return None


def _is_steady_3d(facts: SequenceFacts) -> bool:
    return not (is_prepared(facts) or is_spin_echo(facts)) and facts.acquisition_type != "2D"


def _is_coded_3d_gradient(facts: SequenceFacts) -> bool:
    return "GR" in facts.scanning_sequence and facts.acquisition_type == "3D"


def _rephases_flow(facts: SequenceFacts) -> bool:
    if not _is_steady_3d(facts):
        return False
    compensated = any(option.startswith(("FC", "FLOW")) for option in facts.scan_options)
    return (compensated and _is_coded_3d_gradient(facts)) or _FLOW_COMPENSATED.match(facts.sequence_name) is not None


def _awaits_inflow(facts: SequenceFacts) -> bool:
    """Tell whether TR leaves blood the time to flow in, or veins to dephase, at an angle that does not saturate it."""
    if facts.tr_ms is None or facts.tr_ms <= LONGEST_ECHO_SPACING_MS:
        return False
    return facts.flip_deg is None or facts.flip_deg <= LARGEST_INFLOW_FLIP_DEG


def _other_by_description(facts: SequenceFacts) -> str | None:
    """Believe the description where parameters cannot tell: a gradient echo without inversion that no word calls T1.

    Words for scouts stand above a T1 beside them, not above MPRAGE, BRAVO or a T1 in 3D. A description that also names
    what a gradient echo of short echo time cannot be (T2, FLAIR) is another series' and is not believed.
    """
    if is_prepared(facts) or is_spin_echo(facts):
        return None
    hints = facts.description_hints
    if "scout" in hints and "anatomy" not in hints:
        return "the description calls it a scout"
    if "T1" in hints or hints & _DESCRIBED_CONTRADICTIONS:
        return None
    rival = next((each for each in _DESCRIBED_RIVALS if each in hints), None)
    return rival and f"the description speaks of {rival}"
