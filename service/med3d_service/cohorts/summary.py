"""What one model says of a cohort: who has a number, how far it is from age, who is farthest off, who has none and why.

The report of the first night, when there is nothing to compare yet; ``cohorts.diff`` is that of two models.
"""

from pydantic import Field

from med3d_contract.cohorts import CohortProgress, MemberCounts, ProblemCount
from med3d_contract.results import BundleRef, Frozen
from med3d_service.cohorts.agreement import Mean95
from med3d_service.cohorts.scatter import CohortScatter

MOST_NAMED = 10


class FarOff(Frozen):
    """An answer whose brain age lies far from the age. Years."""

    run_id: str
    age: float
    brain_age: float
    gap: float = Field(description="brain age minus age")
    decision: str


class CohortSummary(Frozen):
    """One model on a cohort. Errors are of healthy people alone; of patients they hold the disease.

    people: members whose age and number are known, without the answers that a person rejected and the scans that the
    model learned from. mean_absolute_error, mean_gap, correlation: of those, in years; None where there are too few.
    """

    cohort: str
    bundle: BundleRef
    members: MemberCounts
    without_number: tuple[ProblemCount, ...]
    people: int
    to_review: int = Field(description="of those, with a reason to look first")
    mean_absolute_error: Mean95 | None
    mean_gap: Mean95 | None
    correlation: float | None
    rejected: int = Field(description="answers that a person rejected: in no accuracy")
    ageless: int = Field(description="answers without a known age: in no accuracy")
    training_scans: int = Field(description="scans that the model learned from: in no accuracy")
    farthest: tuple[FarOff, ...] = Field(description=f"the largest gaps, at most {MOST_NAMED}")


def summarise(progress: CohortProgress, scatter: CohortScatter) -> CohortSummary:
    """Sum up where a cohort stands and what was estimated."""
    by_gap = sorted(scatter.points, key=lambda one: abs(one.gap), reverse=True)
    return CohortSummary(
        cohort=progress.cohort,
        bundle=progress.bundle,
        members=progress.members,
        without_number=progress.problems,
        people=len(scatter.points),
        to_review=sum(one.decision == "review" for one in scatter.points),
        mean_absolute_error=scatter.mean_absolute_error,
        mean_gap=scatter.mean_gap,
        correlation=scatter.correlation if len(scatter.points) > 1 else None,
        rejected=scatter.rejected,
        ageless=scatter.ageless,
        training_scans=scatter.training_scans,
        farthest=tuple(
            FarOff(run_id=one.run_id, age=one.age, brain_age=one.brain_age, gap=one.gap, decision=one.decision)
            for one in by_gap[:MOST_NAMED]
        ),
    )
