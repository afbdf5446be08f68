"""How fast white matter, grey matter and CSF relax, by field strength: published values, interpolated."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tissue:
    """Relaxation times in ms and relative proton density."""

    t1_ms: float
    t2_ms: float
    t2_star_ms: float
    density: float


# White and grey matter, by field in T. T1 at 1.5 T and above: Wright et al., MAGMA 21 (2008) 121 (MPRAGE, healthy
# adults); at 0.2 T: Rooney et al., Magn Reson Med 57 (2007) 308; at 0.05 T: O'Reilly and Webb, Magn Reson Med 87 (2022)
# 884. T2*: Peters et al., Magn Reson Imaging 25 (2007) 748; in weak fields it nears T2. T2 at 3 T: Stanisz et al., Magn
# Reson Med 54 (2005) 507; it hardly depends on the field. Proton density relative to CSF, whose relaxation is that of
# free fluid. Only the order of the signals matters here, so rounder numbers would do as well. Outside the tabulated
# fields the nearest one stands in.
_T1_MS = {0.05: (275.0, 327.0), 0.2: (361.0, 635.0), 1.5: (646.0, 1197.0), 3.0: (838.0, 1607.0), 7.0: (1126.0, 1939.0)}
_T2_STAR_MS = {0.05: (102.0, 106.0), 1.5: (66.2, 84.0), 3.0: (53.2, 66.0), 7.0: (26.8, 33.2)}
WHITE_T2_MS, _GREY_T2_MS = 69.0, 99.0
_WHITE_DENSITY, _GREY_DENSITY = 0.70, 0.82
_CSF = Tissue(t1_ms=4300.0, t2_ms=2000.0, t2_star_ms=1000.0, density=1.0)
USUAL_FIELD_T = 3.0


def tissues(field_t: float | None) -> tuple[Tissue, Tissue, Tissue]:
    """Return white matter, grey matter and CSF at ``field_t`` (3 T where unknown), interpolated over log field."""
    field = field_t or USUAL_FIELD_T
    white_t1, grey_t1 = _at(_T1_MS, field)
    white_star, grey_star = _at(_T2_STAR_MS, field)
    white = Tissue(white_t1, WHITE_T2_MS, white_star, _WHITE_DENSITY)
    return white, Tissue(grey_t1, _GREY_T2_MS, grey_star, _GREY_DENSITY), _CSF


def _at(table: dict[float, tuple[float, float]], field_t: float) -> tuple[float, float]:
    fields = sorted(table)
    field_t = min(max(field_t, fields[0]), fields[-1])
    upper = next(field for field in fields if field >= field_t)
    lower = max((field for field in fields if field <= field_t), default=upper)
    share = 0.0 if upper == lower else math.log(field_t / lower) / math.log(upper / lower)
    low, high = table[lower], table[upper]
    return (low[0] + share * (high[0] - low[0]), low[1] + share * (high[1] - low[1]))
