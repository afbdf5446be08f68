"""Whether a dataset keeps the rules: by the BIDS validator where it is installed, and those that reading relies on."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from med3d_cli.bids.dataset import MISPLACED, NO_BIDS_NAME, NO_LABEL, Dataset
from med3d_cli.bids.derivative import DESCRIPTION
from med3d_cli.bids.tables import PARTICIPANTS_JSON, participant_label, read_table, session_label
from med3d_cli.errors import CommandError
from med3d_contract.bids import PARTICIPANTS_TSV
from med3d_contract.json_files import read_object
from med3d_pipeline.counting import counted

VALIDATORS = ("bids-validator-deno", "bids-validator")
MOST_SHOWN = 5
DICTIONARIES = (PARTICIPANTS_JSON, "sessions.json", "scans.json")


def require_valid(dataset: Dataset) -> str | None:
    """Raise CommandError where ``dataset`` breaks rules; return what was not looked at, for want of the validator."""
    validator = installed_validator(os.environ.get("PATH", os.defpath), Path(sys.executable).parent)
    broken = own_rules(dataset) or ([] if validator is None else _by_validator(validator, dataset.root))
    if broken:
        more = f"; and {len(broken) - MOST_SHOWN} more" if len(broken) > MOST_SHOWN else ""
        raise CommandError(
            f"{dataset.root} does not keep the rules of BIDS: {'; '.join(broken[:MOST_SHOWN])}{more}. "
            "Mend it, or go on with --skip-bids-validation",
            exit_code=2,
        )
    if validator is not None:
        return None
    return (
        "the BIDS validator is not installed (pip install bids-validator-deno): the rules used here alone were checked"
    )


def installed_validator(path: str, beside: Path) -> str | None:
    """Return the validator in the folders of ``path``, else that of our own environment, active or not."""
    folders = f"{path}{os.pathsep}{beside}"
    return next((found for name in VALIDATORS if (found := shutil.which(name, path=folders))), None)


def own_rules(dataset: Dataset) -> list[str]:
    """Return what is wrong by the rules that reading relies on."""
    broken = [*_description_faults(dataset.root / DESCRIPTION), *_participants_faults(dataset.root)]
    named = {why: dataset.passed_over.get(why, 0) for why in (NO_BIDS_NAME, MISPLACED)}
    broken += [f"images with {why}: {count}" for why, count in named.items() if count]
    broken += [f"{NO_LABEL}: {count}"] if (count := dataset.passed_over.get(NO_LABEL)) else []
    dictionaries = [
        path for name in DICTIONARIES if (path := dataset.root / name).exists() and read_object(path) is None
    ]
    return [*broken, *(f"{path.name} is no JSON object" for path in [*dictionaries, *dataset.unreadable_sidecars])]


def _description_faults(path: Path) -> list[str]:
    if not path.exists():
        return [f"there is no {path.name}"]
    said = read_object(path)
    if said is None:
        return [f"{path.name} is no JSON object"]
    return [f"{path.name} has no {key}" for key in ("Name", "BIDSVersion") if not isinstance(said.get(key), str)]


def _participants_faults(root: Path) -> list[str]:
    rows = read_table(root / PARTICIPANTS_TSV)
    if rows and "participant_id" not in rows[0]:
        return [f"{PARTICIPANTS_TSV} has no column participant_id"]
    named = [(participant_label(row), session_label(row)) for row in rows]
    twice = len(named) - len(set(named))
    return (
        [f"{counted(twice, 'row', 'rows')} of {PARTICIPANTS_TSV} for a participant that has one already"]
        if twice
        else []
    )


def _by_validator(validator: str, root: Path) -> list[str]:
    # Headers of images are our own reader's business: it says more of each.
    command = [validator, str(root), "--json", "--ignoreNiftiHeaders", "--ignoreWarnings"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - found on PATH by name
    try:
        issues = json.loads(done.stdout)["issues"]
        return validator_errors(issues["issues"] if "issues" in issues else issues["errors"])
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"{Path(validator).name} ended with status {done.returncode} and no report; "
            "go on with --skip-bids-validation"
        ) from error


def validator_errors(issues: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return code and place of each error in a report of the validator, of release 1 or later."""
    found = []
    for issue in issues:
        if issue.get("severity", "error") != "error":
            continue
        place = issue.get("location") or ""
        code = issue.get("code") if isinstance(issue.get("code"), str) else issue.get("key")
        found.append(f"{code} {place}".strip())
    return found
