"""Rounds of faults, each judged by what it left: nothing lost, nothing doubled, and a ledger that balances.

    PYTHONPATH=tests python -m chaos.campaign [--rounds 20] [--seed 1] [--database sqlite|postgresql]
        [--report FOLDER]

In each round studies are sent by POST and by C-STORE while one to three faults befall the service; then everything is
healed. Lost: a study that was acknowledged and has not, within four minutes, one answer which is its own. Doubled: a study with
more than one current answer. The first round that is lost, doubled or out of balance ends the campaign and keeps the data.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from chaos.cluster import Cluster
from chaos.faults import Harm, faults_of
from chaos.senders import Senders
from med3d_service.custody.ledger import Ledger
from med3d_service.storage.tables import AttemptRow, RunRow
from rig.faults.disks import small_disk

SETTLED_S = 240.0
LOOK_EVERY_S = 0.25
DISK_MB = 192


class Campaign:
    """Rounds on one cluster, whose database and store go on growing."""

    def __init__(self, folder, *, postgres, small_disk):
        self.cluster = Cluster(folder, postgres=postgres)
        self._small_disk = small_disk
        self._ballast = folder.parent / "ballast"
        self._numbers, self._sent = set(), set()

    def round(self, seed):
        """One round; its report. ``lost`` and ``doubled`` are numbers of studies."""
        began = time.monotonic()
        faults = faults_of(seed, self.cluster, small_disk=self._small_disk)
        senders = Senders(self.cluster, posted=2, stored=1)
        with Harm(self.cluster, faults, seed, self._ballast):
            senders.start()
        self.cluster.check_supervisor()
        healed = time.monotonic()
        senders.wait()
        self._numbers |= {sent.number for sent in senders.acknowledged}
        self._sent |= set(senders.numbers)  # what was taken and not acknowledged may have its answer, too
        answers = self._settled()
        ledger = insist(
            Ledger(self.cluster.settings, self.cluster.database, self.cluster.store).check, lease_slack_s=30
        )
        return {
            "seed": seed,
            "faults": [str(fault) for fault in faults],
            "kinds": [f"{fault.kind} {fault.victim}" for fault in faults],
            "acknowledged": len(senders.acknowledged),
            "refused": senders.failed,
            "tries": sum(sent.tries for sent in senders.acknowledged),
            "lost": sorted(self._numbers - answers.keys()),
            "doubled": sorted(number for number, times in answers.items() if times > 1),
            "strange": sorted(answers.keys() - self._sent),
            "ledger": ledger.counts,
            "findings": [finding.model_dump() for finding in ledger.findings],
            "seconds": round(time.monotonic() - began, 1),
            "recovery_s": round(time.monotonic() - healed, 1),
        }

    def _settled(self):
        """How many current answers each number has, once every acknowledged one has some and nothing is in work."""
        until, looks = time.monotonic() + SETTLED_S, 0
        while True:
            rows = insist(self._current_runs)
            answers = Counter(round(estimate) for status, estimate in rows if status == "completed")
            under_way = any(status not in {"completed", "refused", "failed", "cancelled"} for status, _ in rows)
            if answers.keys() >= self._numbers and not under_way:
                return answers
            # Counted, too: every line passes through this process, and while it is starved or stopped nothing can go on.
            looks += 1
            if looks * LOOK_EVERY_S > SETTLED_S and time.monotonic() > until:
                return answers
            time.sleep(LOOK_EVERY_S)

    def _current_runs(self):
        with self.cluster.database.read() as session:
            return session.execute(
                select(RunRow.status, RunRow.result["brain_age"]["estimate"].as_float()).where(
                    RunRow.superseded_by.is_(None)
                )
            ).all()

    def redone(self):
        """Stages that were claimed more often than once for each run."""
        with self.cluster.database.read() as session:
            attempts = session.scalar(select(func.count()).select_from(AttemptRow))
            runs = session.scalar(select(func.count()).select_from(RunRow).where(RunRow.status == "completed"))
        return attempts - 2 * runs


def insist(ask, **given):
    """Ask the database until it answers: the fault may have been its own, and its recovery takes its time."""
    until = time.monotonic() + SETTLED_S
    while True:
        try:
            return ask(**given)
        except DBAPIError:
            if time.monotonic() > until:
                raise
            time.sleep(LOOK_EVERY_S)


def is_good(report):
    """Nothing lost, doubled, made up or out of balance, and everybody was answered in the end."""
    return not any(report[name] for name in ("lost", "doubled", "strange", "ledger", "refused"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next ones follow")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no round after so many")
    parser.add_argument("--report", type=Path, help="a file for one line of JSON a round")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="med3d-chaos-") as folder, small_disk(folder, DISK_MB) as mounted:
        campaign = Campaign(Path(folder) / "cluster", postgres=given.database == "postgresql", small_disk=mounted)
        good = False
        try:
            campaign.cluster.start()
            good = run(campaign, given)
        finally:
            campaign.cluster.stop()
            if not good:
                keep(campaign.cluster, Path(f"{folder}-kept"))
            campaign.cluster.close()
    sys.exit(0 if good else 1)


def keep(cluster, kept):
    """Copy what the campaign left, for a look."""
    shutil.copytree(cluster.folder, kept / "cluster")
    if cluster.postgres:
        shutil.copytree(cluster.postgres.folder, kept / "postgresql", ignore=shutil.ignore_patterns(".s.*"))
    print(f"kept for a look: {kept}", flush=True)


def run(campaign, given):
    reports, began = [], time.monotonic()
    for seed in range(given.seed, given.seed + given.rounds):
        if time.monotonic() - began > given.minutes * 60:
            break
        report = campaign.round(seed)
        reports.append(report)
        if given.report:
            with given.report.open("a") as file:
                file.write(json.dumps(report | {"database": given.database}) + "\n")
        told = "; ".join(report["faults"])
        print(f"{seed}: {told} -> {'good' if is_good(report) else json.dumps(report)}", flush=True)
        if not is_good(report):
            break
    summary(reports, campaign, given.database)
    return all(map(is_good, reports))


def summary(reports, campaign, database):
    """Say what it came to."""
    kinds = Counter(kind for report in reports for kind in report["kinds"])
    total = {name: sum(len(report[name]) for report in reports) for name in ("lost", "doubled", "strange")}
    recovery = sorted(report["recovery_s"] for report in reports)
    print(
        f"{database}: {len(reports)} rounds from seed {reports[0]['seed']}, {kinds.total()} faults, "
        f"{sum(report['acknowledged'] for report in reports)} studies acknowledged, {total}, "
        f"{campaign.redone()} stages done again; healed to answered: median {recovery[len(recovery) // 2]} s, "
        f"longest {recovery[-1]} s"
    )
    for kind, times in sorted(kinds.items()):
        print(f"  {kind}: {times}")


if __name__ == "__main__":
    main()
