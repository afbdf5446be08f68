"""``python -m attack.campaign --minutes 15 --seed 1``: all attacks for so long; figures as Markdown, 1 where anything was found."""

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import structlog

from attack.attacks import attack


def main() -> int:
    """Attack, and print what was tried and found."""
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=15.0)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    logging.disable(logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        report, rounds = attack(given.seed, began + 60 * given.minutes, Path(folder))
    print(f"Seed {given.seed}, {rounds} rounds in {(time.monotonic() - began) / 60:.1f} minutes: ")
    print(f"{len(report.findings)} findings.\n\n| tried | times |\n|---|---:|")
    for what, count in sorted(report.tried.items()):
        print(f"| {what} | {count} |")
    for what, count in sorted(Counter(report.findings).items()):
        print(f"- **{what}**: {count} times")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
