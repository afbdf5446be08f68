"""Which series of a study is analysed, and why not the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from med3d_pipeline.counting import counted
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.refusals import ALLOWED_BY_HAND, is_damage, passed_contrast, precedence
from med3d_pipeline.reasons import Reason, ReviewCode
from med3d_pipeline.study.study_series import Study, StudySeries, best_first, find_series, listed_candidates


@dataclass(frozen=True, slots=True)
class SeriesCandidate:
    """A series that was looked at; ``code`` says why it is not eligible."""

    label: str
    score: float
    reasons: tuple[str, ...]
    eligible: bool
    code: str | None


@dataclass(frozen=True, slots=True)
class SeriesSelection:
    """The chosen label, all candidates (best first) and why a person should look."""

    chosen: str
    candidates: tuple[SeriesCandidate, ...]
    review_reasons: tuple[Reason, ...]


NEARLY_AS_SUITABLE_POINTS = 5.0
"""Of a score of 100: two T1-weighted volumes that differ by less are as good as each other."""

Unusable = Mapping[str, InputRefused]
"""By label, in the order in which they were taken: series whose voxels could not be used, and why."""


def select_series(study: Study, chosen: str | None = None, unusable: Unusable | None = None) -> SeriesSelection:
    """Choose the best T1-weighted 3D series, or the one that ``chosen`` names (label, number or UID; see find_series).

    Equal scores are decided by the order of the study (series_order), and reported in the review reasons. Series that
    are ``unusable`` are passed over, which is reported, too.

    Raises InputRefused with details {"candidates": [{label, score, reasons}]}: unknown_series where ``chosen`` names
    none of the study; else, where nothing is eligible, the code of the series that speaks for the study.
    """
    if chosen is not None:
        return _by_hand(study, find_series(study, chosen))
    unusable = unusable or {}
    eligible = _in_turn(study, unusable)
    if not eligible:
        raise _refusal(study)
    best = eligible[0]
    review = [_passed_over(label, refused) for label, refused in unusable.items()]
    review += best.appraisal.review
    tied = [series for series in eligible[1:] if series.appraisal.score == best.appraisal.score]
    if tied:
        sentence = f"{len(tied) + 1} series are equally suitable; the first by series number was taken."
        review.append(Reason(ReviewCode.SERIES_TIE, sentence))
    review += _worth_knowing(study)
    return SeriesSelection(best.label, candidates_of(study, unusable), tuple(review))


def next_in_turn(study: Study, unusable: Unusable) -> str | None:
    """Return the label of the best eligible series that is not ``unusable``, or None."""
    return next((series.label for series in _in_turn(study, unusable)), None)


def nearly_as_suitable(study: Study, chosen: str, unusable: Unusable) -> str | None:
    """Return the label of the next best series after ``chosen`` where it serves nearly as well, else None."""
    least = find_series(study, chosen).appraisal.score - NEARLY_AS_SUITABLE_POINTS
    others = (series for series in _in_turn(study, unusable) if series.label != chosen)
    return next((series.label for series in others if series.appraisal.score >= least), None)


def candidates_of(study: Study, unusable: Unusable) -> tuple[SeriesCandidate, ...]:
    """Return all series, best first, with what their headers and, where they were ``unusable``, their voxels say."""
    return tuple(
        SeriesCandidate(
            series.label,
            series.appraisal.score,
            series.appraisal.reasons + (() if found is None else (f"cannot be used ({found.code}): {found.reason}",)),
            series.appraisal.fault is None and found is None,
            series.appraisal.fault.code if series.appraisal.fault else found.code if found else None,
        )
        for series in best_first(study)
        for found in (unusable.get(series.label),)
    )


def _in_turn(study: Study, unusable: Unusable) -> list[StudySeries]:
    found = best_first(study)
    return [series for series in found if series.appraisal.fault is None and series.label not in unusable]


def _passed_over(label: str, refused: InputRefused) -> Reason:
    sentence = f"The preferred series cannot be used ({refused.code}; {label}), so the next was taken. {refused.reason}"
    return Reason(ReviewCode.EARLIER_SERIES_UNUSABLE, sentence)


def _by_hand(study: Study, series: StudySeries) -> SeriesSelection:
    fault = series.appraisal.fault
    if fault is not None and fault.code not in ALLOWED_BY_HAND:
        raise InputRefused(fault.code, fault.reason, {"candidates": listed_candidates(study)})
    review = [Reason(ReviewCode.CHOSEN_BY_HAND, "A person chose the series."), *series.appraisal.review]
    if fault is not None:
        sentence = f"The service would not have taken this series ({fault.code}). {fault.reason}"
        review.append(Reason(ReviewCode.NOT_ELIGIBLE, sentence))
    return SeriesSelection(series.label, candidates_of(study, {}), tuple(review))


def _worth_knowing(study: Study) -> list[Reason]:
    found = []
    if study.unreadable_files:
        sentence = (
            f"{counted(study.unreadable_files, 'file', 'files')} of the study could not be read: damaged or cut short."
        )
        found.append(Reason(ReviewCode.DAMAGED_FILES, sentence))
    for series in study.series:
        fault = series.appraisal.fault
        if fault is not None and series.appraisal.is_t1_weighted and is_damage(fault.code):
            sentence = f"Another T1-weighted series is damaged or incomplete ({fault.code}; {series.label})."
            found.append(Reason(ReviewCode.OTHER_SERIES_DAMAGED, sentence))
    return found


def _refusal(study: Study) -> InputRefused:
    """Refuse in the words of the series that came furthest.

    That is the best scored of those whose code stands below no_t1w_series, else the one whose code stands lowest in
    the documented order.
    """
    faulty = [(series, fault) for series in study.series if (fault := series.appraisal.fault) is not None]
    near = [(series, fault) for series, fault in faulty if passed_contrast(fault.code)]
    if near:
        _, fault = max(near, key=lambda item: (item[0].appraisal.score, -precedence(item[1].code)))
    else:
        _, fault = max(faulty, key=lambda item: precedence(item[1].code))
    return InputRefused(fault.code, fault.reason, {"candidates": listed_candidates(study)})
