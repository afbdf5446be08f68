"""Who of a list is healthy: a patient's head would have the calibration take a disease for the scanner."""

from collections.abc import Collection, Iterable, Mapping

GROUPS = (
    "group", "groups", "diagnosis", "diagnoses", "dx", "diag", "patient_group", "dx_group", "condition",
    "diagnosis_group", "diagnostic_group", "clinical_group", "clinical_diagnosis", "clinical_status", "study_group",
    "research_group", "subject_group", "subject_type", "participant_group", "participant_type", "patient_status",
    "disease", "disease_status", "disease_group", "disorder", "pathology", "health_status", "case_control", "diagnose",
    "gruppe",
)  # fmt: skip
HEALTHY = frozenset(
    {"control", "controls", "ctrl", "con", "hc", "nc", "cn", "healthy", "healthy control", "healthy controls",
     "healthy_control", "normal", "volunteer", "none", "no diagnosis"}
)  # fmt: skip
"""What people write in such a column of someone who is healthy, in small letters; others are named by --healthy."""
NOT_SAID = frozenset({"", "n/a"})
NOBODY_TOLD = "no column tells who is healthy (such as group or diagnosis): all heads are taken for healthy"


def healthy_words(named: Collection[str]) -> frozenset[str]:
    """Return the words that mean healthy: those of --healthy in place of the usual ones."""
    return frozenset(_folded(word) for word in named) or HEALTHY


def tells_group(column: str) -> bool:
    """Tell whether a column of this name says who is healthy."""
    return "_".join(column.casefold().replace("-", " ").replace("_", " ").split()) in GROUPS


def filled_groups(cells: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return every group column that a row fills, with its word; two that are spelt alike are both kept."""
    return {
        column: word
        for column, word in cells
        if tells_group(column) and _folded(word) not in NOT_SAID
    }  # fmt: skip


def other_than_healthy(groups: Mapping[str, str], words: Collection[str]) -> str | None:
    """Return the first column that says something else than healthy; None where all that are filled say healthy."""
    return next((column.strip() for column, word in groups.items() if _folded(word) not in words), None)


def _folded(word: str) -> str:
    return " ".join(word.split()).casefold()
