"""Headers and ages, each judged by the function that decides: rows of a table in place of pictures."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from med3d_contract.ages import chronological_age
from med3d_contract.scan_dates import DatesBeside

NOT_TOLD = None


@dataclass(frozen=True)
class Row:
    """One line of what ran."""

    name: str
    wanted: str
    got: str
    right: bool | None
    seconds: float = 0.0


# What the headers say, and the ages in years that may be taken from it; NOT_TOLD: none.
AGES: tuple[tuple[dict[str, Any], Sequence[float | None]], ...] = (
    ({"patient_age": "045Y"}, (45,)),
    ({"patient_age": "45Y"}, (45,)),
    ({"patient_age": " 45Y"}, (45,)),
    ({"patient_age": "042"}, (42,)),
    ({"patient_age": "42"}, (42,)),
    ({"patient_age": "0"}, (NOT_TOLD,)),
    ({"patient_age": "000Y"}, (NOT_TOLD, 0)),
    ({"patient_age": "018M"}, (1,)),
    ({"patient_age": "18M"}, (1,)),
    ({"patient_age": "006W"}, (0,)),
    ({"patient_age": "Y045"}, (NOT_TOLD, 45)),
    ({"patient_age": "045y"}, (45,)),
    ({"patient_age": "45.5Y"}, (45,)),
    ({"patient_age": "90+"}, (NOT_TOLD, 90)),
    ({"patient_age": "089Y+"}, (NOT_TOLD, 89)),
    ({"patient_age": "120Y"}, (NOT_TOLD, 120)),
    ({"birth_date": "19000101", "study_date": "20150601", "patient_age": "045Y"}, (45,)),
    ({"birth_date": "19000101", "study_date": "20240601", "patient_age": "045Y"}, (45,)),
    ({"birth_date": "19000101", "study_date": "20150601"}, (NOT_TOLD,)),
    ({"birth_date": "20300101", "study_date": "20150601", "patient_age": "045Y"}, (45,)),
    ({"birth_date": "1966", "study_date": "20130717", "patient_age": "047Y"}, (47,)),
    ({"birth_date": "1966-01-01", "study_date": "20130717"}, (NOT_TOLD, 47)),
    ({"birth_date": "19660101", "study_date": "20130717", "patient_age": "042Y"}, (NOT_TOLD,)),
    ({"birth_date": "19660000", "study_date": "20130717", "patient_age": "047Y"}, (47,)),
    ({"birth_date": "19660101", "study_date": "19660101", "patient_age": "047Y"}, (47,)),
    ({"birth_date": "19660102", "beside": DatesBeside("20130717")}, (47,)),
    ({"birth_date": "1966.01.02", "beside": DatesBeside("2013.07.17")}, (47,)),
    ({"birth_date": "19660102", "beside": DatesBeside("20130717103000.000000+0200")}, (47,)),
    ({"birth_date": "19660102", "beside": DatesBeside("", "20130717")}, (47,)),
    ({"birth_date": "19660102", "beside": DatesBeside("", "", "20130717")}, (47,)),
    ({"birth_date": "19660102", "study_date": "19000101", "beside": DatesBeside("20130717")}, (47,)),
    ({"birth_date": "19660102", "study_date": "20130717", "beside": DatesBeside("20080301")}, (NOT_TOLD,)),
    ({"birth_date": "19660102", "study_date": "20130717", "beside": DatesBeside("", "", "20250101")}, (47,)),
    ({"birth_date": "19660102"}, (NOT_TOLD,)),
    ({"birth_date": "19990101", "study_date": "19940904", "patient_age": "060Y"}, (60,)),
)


def age_rows() -> list[Row]:
    """Ages as real headers write them."""
    rows = []
    for said, right in AGES:
        found = chronological_age(**said)
        years = None if found is None else found.years
        fits = any(years is None if one is None else years is not None and one <= years < one + 1 for one in right)
        wanted = " or ".join("not told" if one is None else f"{one:g}" for one in right)
        got = "not told" if years is None else f"{years:g}"
        rows.append(Row(f"ages:{' '.join(map(str, said.values()))}", wanted, got, fits))
    return rows


def header_rows(scripts: Path) -> list[Row]:
    """Protocols as scanners write them; the script itself knows which are T1-weighted."""
    command = [sys.executable, scripts / "headers.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [Row("headers", "the script runs", done.stderr.strip().splitlines()[-1], right=False)]
    rows = []
    for line in done.stdout.splitlines():
        flag, name, got = re.fullmatch(r"(ok|XX)\s+(.*?) -> (.*)", line).groups()
        rows.append(Row(f"headers:{name}", "as the script says", got, flag == "ok"))
    return rows
