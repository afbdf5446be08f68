"""Fit a plan where there is a GPU, torch, numpy and pydantic: python -m med3d_export.age_network PLAN OUT."""

import argparse
import sys
import time
from pathlib import Path

from med3d_export.age_network.run import fit_missing


def main() -> None:
    """Tell the time at each member that is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path, help="plan.npz that med3d-export fit-ages wrote")
    parser.add_argument("out", type=Path, help="folder for the members; those that are there are not fitted again")
    parser.add_argument("--device", default="cuda", help="torch's name of the device")
    parser.add_argument("--jobs", type=int, default=8, help="members fitted side by side")
    given = parser.parse_args()
    started = time.monotonic()

    def tell(done: int, count: int) -> None:
        sys.stdout.write(f"{done} of {count} members, {time.monotonic() - started:.0f} s\n")
        sys.stdout.flush()

    fit_missing(given.plan, given.out, given.device, given.jobs, tell)


if __name__ == "__main__":
    main()
