"""A model as its page arranges it: figures with their intervals, groups, what it was held against, and agreement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from med3d_contract.bundle_cards import BundleCard
from med3d_contract.pictures import ReferenceCohort
from med3d_contract.results import Verdict
from med3d_pages.plots import Plot
from med3d_pages.texts import Catalogue

MOST_POINTS = 800
SIDE = 320.0
AGES = (10.0, 90.0)
BASELINES = ("mean_only", "voxel_pca_svr", "voxel_kernel_ridge", "untrained_start")
GROUP, SITE = "brain_age_mae_", "brain_age_mae_site_"
NO_GROUPS = ("lower_95", "upper_95", "varied_copies")


@dataclass(frozen=True)
class Figure:
    """A figure in words: what it is, its value, and what to know of it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Scatter:
    """The held-out estimates of the training cohort against age."""

    plot: Plot
    points: tuple[tuple[float, float], ...]
    equal: str
    band: str
    people: int


@dataclass(frozen=True)
class AgreementRow:
    """What people said of the answers that the model accepted, left for review or refused."""

    decision: str
    counts: tuple[int, ...]
    share: str


def figures(card: BundleCard, t: Catalogue) -> list[Figure]:
    """Say the main figures."""
    found = card.metrics
    half, coverage = found.get("interval_half_width_years"), found.get("coverage")
    made = [
        _with_interval("mae", found, "brain_age_mae", 2, t),
        _stated("r", found.get("brain_age_r"), 2, t),
        _stated("half_width", half, 1, t, t("model.note.half_width", level=t.numbers.percent(card.interval_level))),
        None
        if coverage is None
        else Figure(t("model.figure.coverage"), t.numbers.percent(coverage), _coverage_note(found, t)),
        _share("false_review", found.get("false_review_rate"), t),
        _share("false_refusal", found.get("false_refusal_rate"), t),
    ]
    return [one for one in made if one is not None]


def groups(card: BundleCard, t: Catalogue) -> list[Figure]:
    """Say the mean absolute error by age, sex and site, with the mean of estimate minus age where it is known."""
    found = []
    for name, value in card.metrics.items():
        group = name.removeprefix(GROUP)
        if name.startswith(SITE):
            site = name.removeprefix(SITE)
            bias = card.metrics.get(f"brain_age_bias_site_{site}")
            note = "" if bias is None else t("model.note.bias", bias=t.numbers.signed(bias))
            found.append(Figure(t("model.site", name=site), t.numbers.plain(value, 2), note))
        elif name.startswith(GROUP) and group not in NO_GROUPS:
            found.append(Figure(_group_words(group, t), t.numbers.plain(value, 2)))
    return found


def baselines(card: BundleCard, t: Catalogue) -> list[Figure]:
    """Say what simpler models reach on the same heads."""
    found = ((one, card.metrics.get(f"baseline_{one}_mae")) for one in BASELINES)
    return [Figure(t(f"model.baseline.{one}"), t.numbers.plain(value, 2)) for one, value in found if value is not None]


def scatter(cohort: ReferenceCohort | None, half_width: float | None) -> Scatter | None:
    """Draw what was estimated for people whom the model had not seen; None where the bundle keeps it private."""
    if cohort is None or not cohort.ages:
        return None
    plot = Plot(AGES, AGES, width=SIDE, height=SIDE)
    step = -(-len(cohort.ages) // MOST_POINTS)
    pairs = list(zip(cohort.ages, cohort.brain_ages, strict=True))[::step]
    return Scatter(
        plot=plot,
        points=tuple((plot.x(age), plot.y(estimate)) for age, estimate in pairs),
        equal=plot.path([(AGES[0], AGES[0]), (AGES[1], AGES[1])]),
        band="" if half_width is None else _band(plot, half_width),
        people=len(cohort.ages),
    )


def agreement_rows(
    counts: Mapping[tuple[str, Verdict], int], verdicts: Sequence[Verdict], t: Catalogue
) -> list[AgreementRow]:
    """Make a line for each decision on which people gave a verdict."""
    rows = []
    for decision in ("accepted", "review", "refused"):
        numbers = tuple(counts.get((decision, verdict), 0) for verdict in verdicts)
        if sum(numbers):
            rows.append(AgreementRow(decision, numbers, t.numbers.percent(numbers[0] / sum(numbers))))
    return rows


def _band(plot: Plot, half: float) -> str:
    """Draw the strip in which 9 of 10 people should lie, as SVG's path."""
    low, high = AGES
    upper = plot.path([(low, low + half), (high - half, high), (high, high)])
    lower = [(high, high - half), (low + half, low), (low, low)]
    return upper + "".join(f" L{plot.x(x)} {plot.y(y)}" for x, y in lower) + " Z"


def _with_interval(name: str, found: Mapping[str, float], metric: str, decimals: int, t: Catalogue) -> Figure | None:
    value, lower, upper = (found.get(f"{metric}{end}") for end in ("", "_lower_95", "_upper_95"))
    if value is None:
        return None
    limits = (
        ""
        if lower is None
        else t("model.note.interval", lower=t.numbers.plain(lower, decimals), upper=t.numbers.plain(upper, decimals))
    )
    return Figure(t(f"model.figure.{name}"), t.numbers.plain(value, decimals), limits)


def _stated(name: str, value: float | None, decimals: int, t: Catalogue, note: str = "") -> Figure | None:
    return None if value is None else Figure(t(f"model.figure.{name}"), t.numbers.plain(value, decimals), note)


def _share(name: str, value: float | None, t: Catalogue) -> Figure | None:
    return None if value is None else Figure(t(f"model.figure.{name}"), t.numbers.percent(value))


def _coverage_note(found: Mapping[str, float], t: Catalogue) -> str:
    lower, upper = found.get("coverage_lower_95"), found.get("coverage_upper_95")
    if lower is None or upper is None:
        return ""
    return t("model.note.interval", lower=t.numbers.percent(lower), upper=t.numbers.percent(upper))


def _group_words(group: str, t: Catalogue) -> str:
    first, _, last = group.partition("_to_")
    return t("model.ages", first=first, last=last) if last else t.named("model.group", group)
