"""Is it T1-weighted? Judged by the signal that the parameters call for in white matter, grey matter and CSF."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from med3d_pipeline.dicom_plane import SequenceFacts


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


@dataclass(frozen=True, slots=True)
class Tissue:
    """Relaxation times in ms and relative proton density."""

    t1_ms: float
    t2_ms: float
    t2_star_ms: float
    density: float


# White and grey matter, by field in T. T1: Wright et al., MAGMA 21 (2008) 121 (MPRAGE, healthy adults). T2*: Peters et
# al., Magn Reson Imaging 25 (2007) 748. T2 at 3 T: Stanisz et al., Magn Reson Med 54 (2005) 507; it hardly depends on
# the field. Proton density relative to CSF, whose relaxation is that of free fluid. Only the order of the signals
# matters here, so rounder numbers would do as well. Outside the tabulated fields the nearest one stands in.
_T1_MS = {1.5: (646.0, 1197.0), 3.0: (838.0, 1607.0), 7.0: (1126.0, 1939.0)}
_T2_STAR_MS = {1.5: (66.2, 84.0), 3.0: (53.2, 66.0), 7.0: (26.8, 33.2)}
_WHITE_T2_MS, _GREY_T2_MS = 69.0, 99.0
_WHITE_DENSITY, _GREY_DENSITY = 0.70, 0.82
_CSF = Tissue(t1_ms=4300.0, t2_ms=2000.0, t2_star_ms=1000.0, density=1.0)
USUAL_FIELD_T = 3.0

MIN_CONTRAST = 0.05  # (white - grey) / (white + grey); 3D gradient echoes used for anatomy have 0.06 to 0.45
LONGEST_GRADIENT_TE = 0.22  # of white matter's T2*: beyond it dephasing shapes the image
LONGEST_SPIN_TE = 0.5  # of white matter's T2: beyond it T2 shapes the image
MOSTLY_RECOVERED = 0.42  # of equilibrium, in grey matter: an inversion this long ago leaves proton density
SHORT_TR_MS = 100.0  # below it TR is the time between echoes, above it a whole inversion or excitation cycle


def judge_contrast(facts: SequenceFacts) -> ContrastFinding:
    """T1 weighting from TR, TE, TI and flip angle under every sequence type that the header leaves possible."""
    if facts.te_ms is None and facts.tr_ms is None:
        return ContrastFinding(Weighting.UNKNOWN, "repetition and echo time are not stated")
    findings = [_MODELS[family](facts) for family in _families(facts)]
    if all(finding.weighting is findings[0].weighting for finding in findings):
        return findings[0]
    return ContrastFinding(Weighting.UNKNOWN, "the sequence type is not stated and TR, TE and flip angle fit several")


def tissues(field_t: float | None) -> tuple[Tissue, Tissue, Tissue]:
    """Return white matter, grey matter and CSF at ``field_t`` (3 T where unknown), interpolated over log field."""
    field = field_t or USUAL_FIELD_T
    white_t1, grey_t1 = _at(_T1_MS, field)
    white_star, grey_star = _at(_T2_STAR_MS, field)
    white = Tissue(white_t1, _WHITE_T2_MS, white_star, _WHITE_DENSITY)
    return white, Tissue(grey_t1, _GREY_T2_MS, grey_star, _GREY_DENSITY), _CSF


def _at(table: dict[float, tuple[float, float]], field_t: float) -> tuple[float, float]:
    fields = sorted(table)
    field_t = min(max(field_t, fields[0]), fields[-1])
    upper = next(field for field in fields if field >= field_t)
    lower = max((field for field in fields if field <= field_t), default=upper)
    share = 0.0 if upper == lower else math.log(field_t / lower) / math.log(upper / lower)
    low, high = table[lower], table[upper]
    return (low[0] + share * (high[0] - low[0]), low[1] + share * (high[1] - low[1]))


def _families(facts: SequenceFacts) -> list[str]:
    """List the sequence types that the coded attributes leave possible."""
    spin = "SE" in facts.scanning_sequence or facts.echo_pulse_sequence == "SPIN"
    gradient = "GR" in facts.scanning_sequence or facts.echo_pulse_sequence == "GRADIENT"
    if spin != gradient:
        return ["spin echo" if spin else "gradient echo"]
    if facts.tr_ms is not None and facts.tr_ms < SHORT_TR_MS:
        return ["gradient echo"]  # no spin echo repeats this fast
    return ["gradient echo", "spin echo"]


def _spin_echo(facts: SequenceFacts) -> ContrastFinding:
    """Spin echo, turbo spin echo and their inversion-prepared forms: M0 (1 - exp(-TR/T1)) exp(-TE/T2)."""
    tr, te, ti = facts.tr_ms, facts.te_ms, facts.ti_ms
    if tr is None or te is None:
        return ContrastFinding(Weighting.UNKNOWN, "repetition or echo time of the spin echo is not stated")
    if te > LONGEST_SPIN_TE * _WHITE_T2_MS:
        return ContrastFinding(Weighting.OTHER, f"spin echo with {_times(facts)}: T2-weighted")

    def signal(tissue: Tissue) -> float:
        weight = _inverted(tissue, tr, ti) if ti is not None and ti < tr else 1 - math.exp(-tr / tissue.t1_ms)
        return tissue.density * abs(weight) * math.exp(-te / tissue.t2_ms)

    return _by_order(facts, signal, f"spin echo with {_times(facts)}")


def _gradient_echo(facts: SequenceFacts) -> ContrastFinding:
    white, _, _ = tissues(facts.field_strength_t)
    te, tr, ti = facts.te_ms, facts.tr_ms, facts.ti_ms
    if te is not None and te > LONGEST_GRADIENT_TE * white.t2_star_ms:
        return ContrastFinding(Weighting.OTHER, f"gradient echo with TE {te:g} ms: T2*-weighted")
    if _balanced(facts):
        return ContrastFinding(Weighting.OTHER, "balanced steady state: weighted by T2/T1")
    if ti is not None and (tr is None or tr < SHORT_TR_MS):
        return _prepared(facts, ti)
    if ti is not None and tr is not None and ti < tr:
        return _prepared_in_known_cycle(facts, tr, ti)
    if tr is None or facts.flip_deg is None:
        return ContrastFinding(Weighting.UNKNOWN, "repetition time or flip angle of the gradient echo is not stated")
    return _spoiled(facts, tr, facts.flip_deg)


def _prepared_in_known_cycle(facts: SequenceFacts, tr: float, ti: float) -> ContrastFinding:
    """MPRAGE whose TR is the time from inversion to inversion; its small flip angles hardly disturb the recovery."""
    _, grey, _ = tissues(facts.field_strength_t)
    if _inverted(grey, tr, ti) > MOSTLY_RECOVERED:
        return ContrastFinding(Weighting.OTHER, f"{_times(facts)}: grey matter has recovered, proton density")
    return _by_order(
        facts,
        lambda tissue: tissue.density * abs(_inverted(tissue, tr, ti)),
        f"inversion-prepared gradient echo with {_times(facts)}",
    )


def _prepared(facts: SequenceFacts, ti_ms: float) -> ContrastFinding:
    """IR-SPGR and TFE, whose TR is the echo spacing: the cycle's length is unknown, TI alone tells T1 from density."""
    _, grey, _ = tissues(facts.field_strength_t)
    longest = 1.25 * grey.t1_ms
    if 150 <= ti_ms <= longest:
        return ContrastFinding(Weighting.T1, f"inversion-prepared fast gradient echo with {_times(facts)}")
    return ContrastFinding(
        Weighting.OTHER, f"{_times(facts)}: outside what prepares T1 contrast (150 to {longest:.0f} ms)"
    )


def _spoiled(facts: SequenceFacts, tr: float, flip_deg: float) -> ContrastFinding:
    """FLASH, SPGR, VIBE: Ernst's steady state sin(a) (1 - E1) / (1 - cos(a) E1)."""
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
    """Longitudinal magnetisation at TI of an inversion repeated every TR: 1 - 2 exp(-TI/T1) / (1 + exp(-TR/T1))."""
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
