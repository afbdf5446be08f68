"""What quality usually is by the shipped bundle, for the pages of scans: measures every fifth of its IXI training heads.

Writes service/med3d_cli/reports/usual_quality.json, which counts for that bundle's digest alone (`make usual-quality`).
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from med3d_cli.studies.csv_report import MEASURES
from med3d_pipeline.bundle.bundle import Bundle

ROOT = Path(__file__).parents[2]
OUT = ROOT / "service" / "med3d_cli" / "reports" / "usual_quality.json"
EVERY = 5
PERCENTS = (5, 25, 50, 75, 95)
DIGITS = 5
WHOSE = "heads of the training cohort (IXI, 3 T Philips)"


def main() -> None:
    """Measure, and write the quantiles."""
    argparse.ArgumentParser(description=__doc__).parse_args()  # who asks what it does does not begin it
    with tempfile.TemporaryDirectory() as folder:
        rows = measured_heads(Path(os.environ["MED3D_TEST_DATA"]) / "ixi_hh", Path(folder) / "heads.csv")
    bundle = Bundle.open(Bundle.default_path())
    if {row["bundle_digest"] for row in rows} != {bundle.digest}:
        raise SystemExit("not every head was measured by the shipped bundle")
    said = {
        "bundle": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
        "heads": len(rows),
        "whose": f"{WHOSE}, as bundle {bundle.version} measured them",
        "quantiles": quantiles(rows),
    }
    OUT.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def measured_heads(cohort: Path, table: Path) -> list[dict[str, str]]:
    """Return the rows of the heads that have a number."""
    with (cohort / "participants.csv").open(newline="") as file:
        heads = [cohort / row["t1w"] for row in csv.DictReader(file)][::EVERY]
    program = Path(sys.executable).with_name("med3d")
    subprocess.run([program, "analyse", *heads, "--csv", table], stdout=subprocess.DEVNULL, check=False)
    with table.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["status"] == "completed"]


def quantiles(rows: list[dict[str, str]]) -> dict[str, list[float]]:
    """Return the quantiles of each measure in which most heads differ."""
    found = {}
    for name in MEASURES:
        values = [float(row[f"quality_{name}"]) for row in rows if row[f"quality_{name}"]]
        places = [float(f"{one:.{DIGITS}g}") for one in np.percentile(values, PERCENTS)] if values else []
        if places and places[1] < places[3]:
            found[name] = places
    return found


if __name__ == "__main__":
    main()
