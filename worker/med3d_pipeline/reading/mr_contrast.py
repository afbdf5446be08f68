"""Is it T1-weighted? Judged by the signal that the parameters call for in white matter, grey matter and CSF."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from med3d_pipeline.reading.dicom_plane import SequenceFacts
from med3d_pipeline.reading.dixon import ANATOMY, dixon_part
from med3d_pipeline.reading.relaxation import WHITE_T2_MS, Tissue, tissues


class Weighting(StrEnum):
    """What a sequence's parameters say."""

    T1 = "T1-weighted"
    OTHER = "not T1-weighted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ContrastFinding:
    """The weighting and the reason for it, in words.

    strength: contrast of white over grey matter from T1, (white - grey) / (white + grey); None where not computed.
    """

    weighting: Weighting
    reason: str
    strength: float | None = None


MIN_CONTRAST = 0.05  # (white - grey) / (white + grey); 3D gradient echoes used for anatomy have 0.06 to 0.45
# A steady state without preparation has just the contrast that its angle gives. Anatomy is scanned well beyond Ernst's
# angle (0.12 to 0.20); susceptibility and field mapping at or below it (0.05 to 0.12). Between the two voxels decide.
MIN_STEADY_CONTRAST, SURE_STEADY_CONTRAST = 0.09, 0.12
LONGEST_GRADIENT_TE = 0.22  # of white matter's T2*: beyond it dephasing shapes the image
LONGEST_SPIN_TE = 0.5  # of white matter's T2: beyond it T2 shapes the image
MOSTLY_RECOVERED = 0.42  # of equilibrium, in grey matter: an inversion this long ago leaves proton density
SHORT_TR_MS = 100.0  # below it TR is the time between echoes, above it a whole inversion or excitation cycle
LONGEST_ECHO_SPACING_MS = 12.0  # of a prepared train; a longer TR is the time between the pulses of a steady state
SHORTEST_CYCLE_MS = (
    1000.0  # no 3D gradient echo waits this long between two echoes: TR is the cycle of a prepared train
)
SHORTEST_T1_TI_MS = 150.0  # an earlier "inversion time" is a delay or a fat pulse's, not what makes the contrast
LARGEST_GRADIENT_FLIP_DEG = 45.0  # spin echoes excite with 90 degrees or state the larger angle that refocuses
# Unprepared anatomy needs 5 ms between echoes; what repeats faster plans, calibrates or follows a bolus.
SHORTEST_ANATOMY_TR_MS = 4.5
HASTY_TR_MS, HASTY_TE_MS = 6.0, 2.0
ULTRASHORT_TE_MS = 0.5  # bone and proton density, or attenuation maps
SHORTEST_2D_TR_MS = 50.0  # faster 2D gradient echoes are localizers and inflow angiography
LARGEST_ANATOMY_FLIP_DEG = 52.0  # in a fast 3D steady state; larger angles measure B1


def judge_contrast(facts: SequenceFacts) -> ContrastFinding:
    """Return T1 weighting from TR, TE, TI and flip angle under every sequence type that the header leaves possible."""
    if facts.te_ms is None and facts.tr_ms is None:
        return ContrastFinding(Weighting.UNKNOWN, "repetition and echo time are not stated")
    findings = [_MODELS[family](facts) for family in _families(facts)]
    if all(finding.weighting is findings[0].weighting for finding in findings):
        return findings[0]
    return ContrastFinding(Weighting.UNKNOWN, "the sequence type is not stated and TR, TE and flip angle fit several")


def _families(facts: SequenceFacts) -> list[str]:
    """List the sequence types that the coded attributes leave possible."""
    spin = is_spin_echo(facts)
    gradient = "GR" in facts.scanning_sequence or facts.echo_pulse_sequence == "GRADIENT"
    if spin != gradient:
        return ["spin echo" if spin else "gradient echo"]
    if facts.tr_ms is not None and facts.tr_ms < SHORT_TR_MS:
        return ["gradient echo"]  # no spin echo repeats this fast
    if facts.flip_deg is not None and facts.flip_deg < LARGEST_GRADIENT_FLIP_DEG:
        return ["gradient echo"]
    return ["gradient echo", "spin echo"]


def is_spin_echo(facts: SequenceFacts) -> bool:
    """Tell whether the header states a spin echo."""
    return "SE" in facts.scanning_sequence or facts.echo_pulse_sequence == "SPIN"


def is_inversion_coded(facts: SequenceFacts) -> bool:
    """Tell whether the header states an inversion, with or without its time."""
    return bool(facts.inversion_recovery) or "IR" in facts.scanning_sequence or "IR" in facts.scan_options


def is_prepared(facts: SequenceFacts) -> bool:
    """Tell whether the header states an inversion by its time or by a code."""
    return _believable_ti(facts) is not None or is_inversion_coded(facts)


def _believable_ti(facts: SequenceFacts) -> float | None:
    return facts.ti_ms if facts.ti_ms is not None and facts.ti_ms >= SHORTEST_T1_TI_MS else None


def _spin_echo(facts: SequenceFacts) -> ContrastFinding:
    """Weigh spin echo, turbo spin echo and their inversion-prepared forms: M0 (1 - exp(-TR/T1)) exp(-TE/T2)."""
    tr, te, ti = facts.tr_ms, facts.te_ms, facts.ti_ms
    if tr is None or te is None:
        return ContrastFinding(Weighting.UNKNOWN, "repetition or echo time of the spin echo is not stated")
    if te > LONGEST_SPIN_TE * WHITE_T2_MS:
        return ContrastFinding(Weighting.OTHER, f"spin echo with {_times(facts)}: T2-weighted")
    if ti is None and is_inversion_coded(facts):
        return ContrastFinding(Weighting.UNKNOWN, "the inversion time of the spin echo is not stated")

    def signal(tissue: Tissue) -> float:
        weight = _inverted(tissue, tr, ti) if ti is not None and ti < tr else 1 - math.exp(-tr / tissue.t1_ms)
        return tissue.density * abs(weight) * math.exp(-te / tissue.t2_ms)

    return _by_order(facts, signal, f"spin echo with {_times(facts)}")


def _gradient_echo(facts: SequenceFacts) -> ContrastFinding:
    tr, ti = facts.tr_ms, _believable_ti(facts)
    purpose = _other_purpose(facts)
    if purpose is not None:
        return ContrastFinding(Weighting.OTHER, purpose)
    if ti is not None and (tr is None or tr < SHORT_TR_MS):
        return _prepared(facts, ti)
    if ti is not None and tr is not None and ti < tr:
        return _prepared_in_known_cycle(facts, tr, ti)
    if tr is not None and tr >= SHORT_TR_MS and _is_cycle_without_time(facts, tr):
        return ContrastFinding(
            Weighting.UNKNOWN, f"{_times(facts)}: a prepared train whose inversion time is not stated"
        )
    if tr is None or facts.flip_deg is None:
        return ContrastFinding(Weighting.UNKNOWN, "repetition time or flip angle of the gradient echo is not stated")
    return _unprepared(facts, tr, facts.flip_deg)


def _other_purpose(facts: SequenceFacts) -> str | None:
    """Name what the timing of a gradient echo is for where it is not T1-weighted anatomy, else None."""
    te = facts.te_ms
    if te is not None and te > LONGEST_GRADIENT_TE * tissues(facts.field_strength_t)[0].t2_star_ms:
        return f"gradient echo with TE {te:g} ms: T2*-weighted"
    if _balanced(facts):
        return "balanced steady state: weighted by T2/T1"
    if is_prepared(facts):
        return None
    if te is not None and te < ULTRASHORT_TE_MS and dixon_part(facts) not in ANATOMY:
        return f"{_times(facts)}: an ultrashort echo, for bone, proton density or attenuation maps"
    purpose = _hasty_purpose(facts)
    return purpose and f"{_times(facts)}: {purpose}"


def _hasty_purpose(facts: SequenceFacts) -> str | None:
    """Name what an unprepared gradient echo is for that repeats as no T1-weighted anatomy does, else None."""
    tr, te, flip = facts.tr_ms, facts.te_ms, facts.flip_deg
    if tr is None or tr >= SHORT_TR_MS:
        return None
    # Water of a Dixon acquisition has no echo of its own (TE 0, or the first one's), and its echoes follow fast.
    early = te is not None and te < HASTY_TE_MS and dixon_part(facts) not in ANATOMY
    if tr < SHORTEST_ANATOMY_TR_MS or (early and tr < HASTY_TR_MS):
        return "too fast for anatomy, as scouts, calibration scans and contrast-enhanced angiography are"
    if facts.acquisition_type == "2D" and tr < SHORTEST_2D_TR_MS:
        return "a fast two-dimensional gradient echo, as localizers and inflow angiography are"
    if flip is not None and flip > LARGEST_ANATOMY_FLIP_DEG:
        return "a large angle at a short repetition time, as maps of the transmit field have"
    return None


def _is_cycle_without_time(facts: SequenceFacts, tr: float) -> bool:
    """Tell whether TR is the cycle of a prepared train (MPRAGE) whose inversion time the header does not state."""
    if _believable_ti(facts) is not None:
        return False
    if is_inversion_coded(facts):
        return True
    if tr < SHORTEST_CYCLE_MS or facts.acquisition_type == "2D":
        return False
    small_angle = facts.flip_deg is None or facts.flip_deg < LARGEST_GRADIENT_FLIP_DEG
    return "MP" in facts.sequence_variant or facts.acquisition_type == "3D" or small_angle


def _prepared_in_known_cycle(facts: SequenceFacts, tr: float, ti: float) -> ContrastFinding:
    """Weigh MPRAGE whose TR is the time from inversion to inversion.

    Its small flip angles hardly disturb the recovery.
    """
    _, grey, _ = tissues(facts.field_strength_t)
    if _inverted(grey, tr, ti) > MOSTLY_RECOVERED:
        return ContrastFinding(Weighting.OTHER, f"{_times(facts)}: grey matter has recovered, proton density")
    return _by_order(
        facts,
        lambda tissue: tissue.density * abs(_inverted(tissue, tr, ti)),
        f"inversion-prepared gradient echo with {_times(facts)}",
    )


def _prepared(facts: SequenceFacts, ti_ms: float) -> ContrastFinding:
    """Weigh IR-SPGR and TFE, whose TR is the echo spacing: the cycle is unknown, TI alone tells T1 from density."""
    _, grey, _ = tissues(facts.field_strength_t)
    longest = 1.25 * grey.t1_ms
    if ti_ms <= longest:
        return ContrastFinding(Weighting.T1, f"inversion-prepared fast gradient echo with {_times(facts)}")
    return ContrastFinding(
        Weighting.OTHER,
        f"{_times(facts)}: outside what prepares T1 contrast ({SHORTEST_T1_TI_MS:.0f} to {longest:.0f} ms)",
    )


def _unprepared(facts: SequenceFacts, tr: float, flip_deg: float) -> ContrastFinding:
    """Weigh steady state, or a train whose preparation is coded (MP, IR) without its time: it can only add contrast."""
    finding = _spoiled(facts, tr, flip_deg)
    if finding.weighting is Weighting.OTHER:
        if tr <= LONGEST_ECHO_SPACING_MS and ("MP" in facts.sequence_variant or is_inversion_coded(facts)):
            return ContrastFinding(Weighting.UNKNOWN, f"{_times(facts)}: prepared, but how is not stated")
        return finding
    if tr <= LONGEST_ECHO_SPACING_MS or finding.strength is None or finding.strength >= SURE_STEADY_CONTRAST:
        return finding
    if finding.strength < MIN_STEADY_CONTRAST:
        return ContrastFinding(Weighting.OTHER, f"{finding.reason}: an angle too small for T1 weighting")
    return ContrastFinding(Weighting.UNKNOWN, f"{finding.reason}: between T1 weighting and proton density")


def _spoiled(facts: SequenceFacts, tr: float, flip_deg: float) -> ContrastFinding:
    """Weigh FLASH, SPGR, VIBE: Ernst's steady state sin(a) (1 - E1) / (1 - cos(a) E1)."""
    angle = math.radians(flip_deg)
    te = facts.te_ms or 0.0

    def signal(tissue: Tissue) -> float:
        e1 = math.exp(-tr / tissue.t1_ms)
        steady = math.sin(angle) * (1 - e1) / (1 - math.cos(angle) * e1)
        return tissue.density * steady * math.exp(-te / tissue.t2_star_ms)

    return _by_order(facts, signal, f"spoiled gradient echo with {_times(facts)}")


def _by_order(facts: SequenceFacts, signal: Callable[[Tissue], float], what: str) -> ContrastFinding:
    """T1-weighted means white matter over grey matter by a margin, and fluid darkest."""
    white, grey, fluid = (signal(tissue) for tissue in tissues(facts.field_strength_t))
    contrast = (white - grey) / (white + grey) if white + grey > 0 else 0.0
    if contrast >= MIN_CONTRAST and fluid < white:
        return ContrastFinding(Weighting.T1, what, contrast)
    if fluid >= white:
        return ContrastFinding(Weighting.OTHER, f"{what}: fluid is not dark, as T1 weighting would make it")
    return ContrastFinding(Weighting.OTHER, f"{what}: white and grey matter are not told apart by T1")


def _inverted(tissue: Tissue, tr: float, ti: float) -> float:
    """Return magnetisation along z at TI of an inversion repeated every TR: 1 - 2 exp(-TI/T1) / (1 + exp(-TR/T1))."""
    return 1 - 2 * math.exp(-ti / tissue.t1_ms) / (1 + math.exp(-tr / tissue.t1_ms))


def _balanced(facts: SequenceFacts) -> bool:
    spoiled = bool({"SP", "MP"} & set(facts.sequence_variant))
    steady = bool({"SS", "TRSS"} & set(facts.sequence_variant))
    tr, te, flip = facts.tr_ms, facts.te_ms, facts.flip_deg
    if not steady or spoiled or tr is None or te is None or flip is None:
        return False
    return flip >= 25 and 0.3 <= te / tr <= 0.7


def _times(facts: SequenceFacts) -> str:
    stated = (
        ("TR", facts.tr_ms, " ms"),
        ("TE", facts.te_ms, " ms"),
        ("TI", facts.ti_ms, " ms"),
        ("flip", facts.flip_deg, " degrees"),
    )
    return ", ".join(f"{name} {value:g}{unit}" for name, value, unit in stated if value is not None)


_MODELS: dict[str, Callable[[SequenceFacts], ContrastFinding]] = {
    "spin echo": _spin_echo,
    "gradient echo": _gradient_echo,
}
