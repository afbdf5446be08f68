"""Evaluation results as Markdown tables."""

from collections.abc import Mapping, Sequence

from med3d_export.calibration import Coverage
from med3d_export.evaluation.reactive_intervals import ReactiveWidths
from med3d_export.evaluation.scores import LatentScores, RegressionScores, Row
from med3d_export.evaluation.uncertainty import Interval, PairedComparison
from med3d_export.monitors import PosteriorMonitors


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a pipe table; the first column is left-aligned, the others right."""
    line = "|" + "|".join("---" if number == 0 else "---:" for number in range(len(head))) + "|"
    return "\n".join([_line(head), line, *(_line(row) for row in rows)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def interval(value: Interval, digits: int = 2) -> str:
    """Write figure and 95 % interval."""
    return f"{value.value:.{digits}f} ({value.lower:.{digits}f} to {value.upper:.{digits}f})"


def regression_table(rows: Sequence[Row]) -> str:
    """Return raw estimates of every method."""
    head = ("method", "encoder", "n", "repeats", "MAE", "RMSE", "R2", "r", "slope of gap on label", "MAE by repeat")
    return table(head, [_regression(row, row.raw) for row in rows])


def corrected_table(rows: Sequence[Row]) -> str:
    """Return bias-corrected estimates of those methods that have them; empty where none has."""
    kept = [(row, row.corrected) for row in rows if row.corrected is not None]
    head = ("method", "encoder", "n", "repeats", "MAE", "RMSE", "R2", "r", "slope of gap on age", "MAE by repeat")
    return table(head, [_regression(row, scores) for row, scores in kept]) if kept else ""


def _regression(row: Row, scores: RegressionScores) -> list[str]:
    return [
        row.name, row.kind, str(row.subjects), str(row.repeats), interval(scores.mae), interval(scores.rmse),
        interval(scores.r2), interval(scores.r), interval(scores.gap_slope),
        ", ".join(f"{value:.2f}" for value in scores.mae_by_repeat),
    ]  # fmt: skip


def paired_table(pairs: Mapping[str, PairedComparison], unit: str, adjusted: Mapping[str, float] | None = None) -> str:
    """Return differences with their intervals, both tests, and what could have been detected."""
    head = ["against", "n", f"difference, {unit}", "Wilcoxon p", "sign-flip p", "detectable with power 0.8"]
    rows = []
    for name, pair in pairs.items():
        cells = [
            name, str(pair.subjects), interval(pair.difference), f"{pair.wilcoxon_p:.3f}", f"{pair.permutation_p:.3f}",
            f"{pair.detectable:.2f}",
        ]  # fmt: skip
        rows.append(cells + ([f"{adjusted[name]:.3f}"] if adjusted is not None else []))
    return table([*head, *(["adjusted p"] if adjusted is not None else [])], rows)


def coverage_table(coverages: Mapping[str, Coverage]) -> str:
    """Return measured coverage by group."""
    head = ("group", "n", "stated", "measured", "95 % Clopper-Pearson", "half width")
    return table(
        head,
        [
            [
                name, str(one.count), f"{one.level:.2f}", f"{one.covered:.3f}", f"{one.lower:.3f} to {one.upper:.3f}",
                f"{one.half_width:.1f}",
            ]
            for name, one in coverages.items()
        ],
    )  # fmt: skip


def reactive_table(widths: Mapping[str, ReactiveWidths]) -> str:
    """Return what widths that follow a measure of difficulty come to, beside one width for all, which is first."""
    head = ("width follows", "rank r with error", "mean half width", "to one width", "covered",
            "narrowest, middle, widest third")  # fmt: skip
    one = next(iter(widths.values())).mean_half_width
    return table(
        head,
        [
            [
                name, "" if each.rank_r is None else f"{each.rank_r:+.2f}", f"{each.mean_half_width:.1f}",
                f"{each.mean_half_width / one - 1.0:+.0%}", f"{each.covered:.3f}",
                ", ".join(f"{share:.2f}" for share in each.by_third),
            ]
            for name, each in widths.items()
        ],
    )  # fmt: skip


def image_table(scores: Mapping[str, LatentScores]) -> str:
    """Return SSIM, PSNR, and what else is asked of each method's latent."""
    head = ("method", "SSIM brain", "SSIM whole", "PSNR brain, dB", "PSNR whole, dB", "error / mean head", "sex AUC",
            "site, balanced accuracy (chance)", "PLS r out of fold (null 95 %; p)")  # fmt: skip
    return table(head, [_image(name, one) for name, one in scores.items()])


def _image(name: str, one: LatentScores) -> list[str]:
    return [
        name,
        interval(one.ssim_brain, 3),
        interval(one.ssim_whole, 3),
        interval(one.psnr_brain),
        interval(one.psnr_whole),
        f"{one.relative_error:.0%}",
        "one sex only" if one.sex_auc is None else interval(one.sex_auc),
        "one site only" if one.site is None else f"{one.site[0]:.2f} ({one.site[1]:.2f})",
        f"{one.pls.r:.2f} ({one.pls.null_95:.2f}; {one.pls.p:.3f})",
    ]


def monitor_table(monitors: Mapping[str, Sequence[PosteriorMonitors]]) -> str:
    """Return the monitors' numbers, one row each, one column per method: mean of its folds (lowest to highest)."""
    numbers = {name: [one.numbers() for one in of_folds] for name, of_folds in monitors.items()}
    names = list(dict.fromkeys(name for of_folds in numbers.values() for found in of_folds for name in found))
    rows = [[name.replace("_", " "), *(_of_folds(name, each) for each in numbers.values())] for name in names]
    return table(("", *numbers), rows)


def _of_folds(name: str, of_folds: Sequence[dict[str, float]]) -> str:
    values = [found[name] for found in of_folds if name in found]
    if not values:
        return ""
    mean = f"{sum(values) / len(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.4g} to {max(values):.4g})"
