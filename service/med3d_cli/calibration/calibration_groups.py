"""What a list says of its heads: who is healthy, and of which scanner each is.

A patient's head would have the calibration take a disease for the scanner; those of two scanners would give the mean of
both, which is true of neither.
"""

from collections.abc import Collection, Iterable, Mapping

GROUPS = (
    "group", "groups", "diagnosis", "diagnoses", "dx", "diag", "patient_group", "dx_group", "condition",
    "diagnosis_group", "diagnostic_group", "clinical_group", "clinical_diagnosis", "clinical_status", "study_group",
    "research_group", "subject_group", "subject_type", "participant_group", "participant_type", "patient_status",
    "disease", "disease_status", "disease_group", "disorder", "pathology", "health_status", "case_control", "diagnose",
    "gruppe",
)  # fmt: skip
SCANNERS = (
    "scanner", "scanner_id", "scanner_name", "scanner_model", "scanner_site", "site", "site_id", "study_site", "centre",
    "center", "manufacturer", "manufacturersmodelname", "manufacturers_model_name", "magneticfieldstrength",
    "magnetic_field_strength", "field_strength",
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
    return _plain(column) in GROUPS


def filled_scanners(cells: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what a row says of where a head was scanned, by column."""
    return _filled(cells, SCANNERS)


def several_words(told: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the words of the first column in which rows say different ones; none where all agree."""
    words: dict[str, dict[str, str]] = {}
    for cells in told:
        for column, word in cells.items():
            words.setdefault(column, {}).setdefault(_folded(word), word.strip())
    return next((sorted(found.values()) for found in words.values() if len(found) > 1), [])


def filled_groups(cells: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return every group column that a row fills, with its word; two that are spelt alike are both kept."""
    return _filled(cells, GROUPS)


def other_than_healthy(groups: Mapping[str, str], words: Collection[str]) -> str | None:
    """Return the first column that says something else than healthy; None where all that are filled say healthy."""
    return next((column.strip() for column, word in groups.items() if _folded(word) not in words), None)


def _filled(cells: Iterable[tuple[str, str]], names: Collection[str]) -> dict[str, str]:
    return {column: word for column, word in cells if _plain(column) in names and _folded(word) not in NOT_SAID}


def _plain(column: str) -> str:
    return "_".join(column.casefold().replace("-", " ").replace("_", " ").split())


def _folded(word: str) -> str:
    return " ".join(word.split()).casefold()
