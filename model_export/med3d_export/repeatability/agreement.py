"""How far repeated measurements of the same heads agree: within-subject standard deviation and intraclass correlation.

Matrices are (n heads, k measurements), years; what they were measured after differs by column.
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import f as f_distribution

from med3d_export.evaluation.uncertainty import Interval, bootstrap_interval

Floats = npt.NDArray[np.float64]


def within_subject_sd(measured: Floats) -> float:
    """Square root of the mean of the heads' own variances over their k >= 2 measurements.

    J. M. Bland, D. G. Altman, "Measurement error", BMJ 313 (1996) 744. For k = 2 it is sqrt(sum d^2 / 2n) with d the
    difference of the two, so a shift that all heads share counts as error, too.
    """
    return float(np.sqrt(measured.var(axis=1, ddof=1).mean()))


def within_subject_sd_interval(measured: Floats, seed: int) -> Interval:
    """Return the same with its 95 % percentile bootstrap interval over heads."""
    variances = measured.var(axis=1, ddof=1)
    return bootstrap_interval(lambda drawn: float(np.sqrt(drawn.mean())), (variances,), seed)


def agreement_icc(measured: Floats) -> Interval | None:
    """Return ICC(A,1): intraclass correlation for absolute agreement of single measurements, with its 95 % interval.

    Two-way model, columns drawn from more of their kind: ICC(2,1) of P. E. Shrout, J. L. Fleiss, Psychological
    Bulletin 86 (1979) 420; ICC(A,1) and its interval of K. O. McGraw, S. P. Wong, Psychological Methods 1 (1996) 30,
    tables 4 and 7. 1 (1 to 1) where all columns are equal; None where all heads are: then it cannot be told.
    """
    n, k = measured.shape
    of_rows, of_columns, of_rest = _mean_squares(measured)
    if of_rows == 0.0:
        return None
    if of_rest == of_columns == 0.0:
        return Interval(1.0, 1.0, 1.0)
    icc = (of_rows - of_rest) / (of_rows + (k - 1) * of_rest + k * (of_columns - of_rest) / n)
    # Their a and b times n (1 - icc), which the degrees of freedom do not depend on and which may be 0.
    a, b = k * icc, n * (1 - icc) + k * icc * (n - 1)
    freedom = (a * of_columns + b * of_rest) ** 2 / (
        (a * of_columns) ** 2 / (k - 1) + (b * of_rest) ** 2 / ((n - 1) * (k - 1))
    )
    low, high = (float(f_distribution.ppf(0.975, *pair)) for pair in ((n - 1, freedom), (freedom, n - 1)))
    others = k * of_columns + (k * n - k - n) * of_rest
    return Interval(
        float(icc),
        float(n * (of_rows - low * of_rest) / (low * others + n * of_rows)),
        float(n * (high * of_rows - of_rest) / (others + n * high * of_rows)),
    )


def _mean_squares(measured: Floats) -> tuple[float, float, float]:
    """Return mean squares of the two-way layout: between heads, between columns, and what is left."""
    n, k = measured.shape
    mean = measured.mean()
    heads, columns = measured.mean(axis=1, keepdims=True), measured.mean(axis=0, keepdims=True)
    rest = measured - heads - columns + mean
    return (
        float(k * np.square(heads - mean).sum() / (n - 1)),
        float(n * np.square(columns - mean).sum() / (k - 1)),
        float(np.square(rest).sum() / ((n - 1) * (k - 1))),
    )
