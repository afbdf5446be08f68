"""A subject's trajectory as one small chart: a line is broken where two scans cannot be compared."""

from med3d_service.cohorts.svg import BLUE, FAINT, RED, Chart, padded
from med3d_service.cohorts.trajectory import Trajectory, stretches

TIME = {"age": "age (years)", "study_date": "years since the first scan", "order": "scan"}


def trajectory_svg(found: Trajectory) -> str | None:
    """Brain age over time with its intervals; None where there is no number to draw."""
    shown = [visit for visit in found.visits if visit.brain_age is not None and visit.brain_age_interval is not None]
    if not shown:
        return None
    heights = [value for visit in shown for value in visit.brain_age_interval or ()]
    ages = [visit.age for visit in shown if visit.age is not None]
    chart = Chart(
        padded([visit.time for visit in shown], 0.5),
        padded([*heights, *ages], 5.0),
        TIME[found.time_basis],
        "brain age (years)",
    )
    if found.time_basis == "age":
        chart.line([(chart.x_range[0], chart.x_range[0]), (chart.x_range[1], chart.x_range[1])], FAINT, dashed=True)
    for stretch in stretches(found.visits):
        chart.line([(visit.time, visit.brain_age or 0.0) for visit in stretch], BLUE, width=1.8)
    for visit in shown:
        lower, upper = visit.brain_age_interval or (0.0, 0.0)
        chart.whisker(visit.time, lower, upper)
    chart.points([(visit.time, visit.brain_age or 0.0) for visit in shown])
    for visit in shown:
        if visit.breaks:
            words = ", ".join(reason.removesuffix(" changed") for reason in visit.breaks)
            chart.label((visit.time, chart.y_range[0]), f"other {words}", RED)
    return chart.svg("Brain age over time")
