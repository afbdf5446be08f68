"""Where an answer stands among the people of about the same age whom its model was calibrated on."""

from med3d_contract.pictures import ReferenceCohort
from med3d_contract.results import Result

WITHIN_YEARS = 7.5


def position_by_age(result: Result, cohort: ReferenceCohort) -> tuple[int, int] | None:
    """Return (how many of the cohort are of about this age, per cent of them with a lower brain age).

    None without an age.
    """
    age = result.brain_age.chronological_age
    if age is None:
        return None
    peers = [
        estimate
        for years, estimate in zip(cohort.ages, cohort.brain_ages, strict=True)
        if abs(years - age.years) <= WITHIN_YEARS
    ]
    if not peers:
        return None
    lower = sum(estimate < result.brain_age.estimate for estimate in peers)
    return len(peers), round(100 * lower / len(peers))
