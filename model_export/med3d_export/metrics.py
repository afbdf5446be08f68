"""What the cross-validation says in numbers."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RegressionMetrics:
    """mae and rmse in the label's unit; r: Pearson; r2: against the labels' mean; slope: of the gap on the label."""

    mae: float
    rmse: float
    r: float
    r2: float
    gap_slope: float


def regression_metrics(estimates: Floats, labels: Floats) -> RegressionMetrics:
    """Of out-of-fold ``estimates`` (N,) for ``labels`` (N,). r is 0 where the estimates do not vary."""
    gaps = estimates - labels
    r = float(np.corrcoef(estimates, labels)[0, 1]) if estimates.std() > 0 else 0.0
    return RegressionMetrics(
        mae=float(np.abs(gaps).mean()),
        rmse=float(np.sqrt((gaps**2).mean())),
        r=r,
        r2=float(1.0 - (gaps**2).sum() / ((labels - labels.mean()) ** 2).sum()),
        gap_slope=float(np.polyfit(labels, gaps, 1)[0]),
    )


def named(prefix: str, metrics: RegressionMetrics) -> dict[str, float]:
    """The metrics as flat names for the manifest, such as ``brain_age_mae``."""
    return {f"{prefix}_{name}": round(value, 4) for name, value in asdict(metrics).items()}
