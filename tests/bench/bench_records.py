"""100,000 stored runs: list, filter and fetch over HTTP, and what Prometheus is shown, on SQLite and on PostgreSQL.

    PYTHONPATH=tests python -m bench.bench_records [--runs 100000] [--requests 300] [--data FOLDER]
        [--database sqlite|postgresql]

Every completed run has a result with 512 latent values, as the shipped model's have. One client, one request after
another, to a real API process; each read also writes its entry of the audit trail.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
import uuid
from contextlib import nullcontext
from pathlib import Path

from sqlalchemy import insert

from bench.measuring import DURABILITY, offer_to_write, publish, table
from med3d_service.runs.bundles import register_bundles
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import load_keys
from med3d_service.storage.tables import AttemptRow, IdentifierRow, RunEventRow, RunRow, StudyRow
from rig.processes.service import Processes, new_database, postgresql
from rig.service.parts import completed, failed, refused
from rig.service.work import BUNDLE, PROVENANCE, QUALITY, SERIES

AIM_MS, METRICS_AIM_MS = 50, 20
AT_ONCE = 1000
LATENTS = 512
REPORTED = {
    "series": SERIES.model_dump(mode="json"),
    "quality": QUALITY.model_dump(mode="json"),
    "provenance": PROVENANCE.model_dump(mode="json"),
}
STATUSES = ("completed",) * 90 + ("refused",) * 8 + ("failed",) * 2
UNLIMITED = {"MED3D_REQUESTS_PER_MINUTE": "0"}


def answers(dice):
    """What a run of each status holds, as JSON columns."""
    result = completed(2).result.model_dump(mode="json")
    result["latent"] |= {"dimension": LATENTS, "values": [round(dice.gauss(0, 1), 6) for _ in range(LATENTS)]}
    return {
        "completed": {"result": result},
        "refused": {"refusal": refused(1).refusal.model_dump(mode="json")},
        "failed": {"failure": failed(1, retryable=False).failure.model_dump(mode="json")},
    }


def rows_of(number, dice, vault, stored):
    """One study with its run, their events and attempts, and the index of its accession number."""
    study_id, run_id, at, status = str(uuid.uuid4()), str(uuid.uuid4()), 1.7e9 + 60.0 * number, dice.choice(STATUSES)
    common = {"result": None, "refusal": None, "failure": None} | REPORTED
    study = {
        "id": study_id, "site": "default", "digest": uuid.uuid4().hex * 2, "created_at": at, "files": 176,
        "skipped_files": 0, "working_status": "ready", "working_priority": 9, "working_key": f"working/{study_id}.tar",
        "working_sha256": "0" * 64, "working_tries": 1,
    }  # fmt: skip
    run = {
        "id": run_id, "study_id": study_id, "bundle_digest": BUNDLE.digest, "chosen_series": "", "status": status,
        "priority": 3, "attempt": 2, "tries": 0, "retries": 0, "alone": False, "held": False, "created_at": at,
        "started_at": at + 5, "finished_at": at + 25,
    } | common | stored[status]  # fmt: skip
    events = [
        {"run_id": run_id, "at": at + step, "status": said, "stage": None, "attempt": step // 10}
        for step, said in ((0, "queued"), (10, "preprocessing"), (20, status))
    ]
    attempt = {
        "run_id": run_id, "number": 2, "stage": "predict", "worker_id": "w", "batch_size": 1, "claimed_at": at + 20,
        "ended_at": at + 25, "ending": status,
    }  # fmt: skip
    kind, accession = "accession_number", f"A-{number}"
    identifier = {
        "study_id": study_id, "kind": kind, "blind_index": vault.blind_index(kind, accession),
        "ciphertext": vault.seal(accession, f"{study_id}\0{kind}"),  # who has the clinical grant reads it on every page
    }  # fmt: skip
    return study, run, events, attempt, identifier


def fill(service, runs):
    """Put the rows in place. Every hundredth run has the same latent: making them all takes longer than storing them."""
    dice, database = random.Random(1), Database(service.settings.database)
    variants = [answers(dice) for _ in range(100)]
    vault = IdentifierVault(load_keys(service.settings))
    with database.write() as session:
        register_bundles(session, [BUNDLE])
    for start in range(0, runs, AT_ONCE):
        made = [
            rows_of(number, dice, vault, variants[number % len(variants)])
            for number in range(start, min(runs, start + AT_ONCE))
        ]
        studies, several, events, attempts, identifiers = zip(*made, strict=True)
        with database.write() as session:
            session.execute(insert(StudyRow), list(studies))
            session.execute(insert(RunRow), list(several))
            session.execute(insert(RunEventRow), [event for three in events for event in three])
            session.execute(insert(AttemptRow), list(attempts))
            session.execute(insert(IdentifierRow), list(identifiers))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if "sqlite" in service.settings.database else "VACUUM ANALYZE")
    database.close()


def questions(service, runs):
    """Name -> a function that gives the path of the next request."""
    dice = random.Random(2)
    ids, cursor = [], None
    for _ in range(20):
        page = service.client.get("/runs", params={"limit": 50} | ({"cursor": cursor} if cursor else {})).json()
        ids += [(run["run_id"], run["study_id"]) for run in page["items"]]
        cursor = page["next_cursor"]
    return {
        "`GET /runs` (a page of 50)": lambda: "/runs",
        "`GET /runs`, deep": lambda: f"/runs?cursor={cursor}",
        "`GET /runs?status=failed`": lambda: "/runs?status=failed",
        "`GET /runs?status=queued` (none)": lambda: "/runs?status=queued",
        "`GET /studies` (a page of 50)": lambda: "/studies",
        "`GET /studies?accession=`": lambda: f"/studies?accession=A-{dice.randrange(runs)}",
        "`GET /runs/{id}`": lambda: f"/runs/{dice.choice(ids)[0]}",
        "`GET /studies/{id}`": lambda: f"/studies/{dice.choice(ids)[1]}",
        "`GET /metrics`": lambda: "/metrics",
    }


def measure(service, path_of, requests):
    """Milliseconds of each request."""
    taken = []
    for number in range(requests + 5):
        path = path_of()
        start = time.perf_counter()
        answer = service.clinical.get(path)
        if number >= 5:  # the first ones warm up
            taken.append((time.perf_counter() - start) * 1000)
        answer.raise_for_status()
    return sorted(taken)


def p99(taken):
    return taken[max(0, -(-len(taken) * 99 // 100) - 1)]


def bench(name, folder, given):
    with postgresql(fsync=True) if name == "postgresql" else nullcontext() as url:
        environment = UNLIMITED | ({"MED3D_DATABASE_URL": new_database(url)} if url else {})
        service = Processes(folder / name, **environment)
        began = time.monotonic()
        fill(service, given.runs)
        print(f"filled {name} in {time.monotonic() - began:.0f} s", flush=True)
        try:
            service.start("broker", "api")
            found = {}
            for said, path_of in questions(service, given.runs).items():
                found[said] = measure(service, path_of, given.requests)
                print(f"{name}: {said} {statistics.median(found[said]):.1f}, {p99(found[said]):.1f} ms", flush=True)
            return found
        finally:
            service.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--report", type=Path, help="a file for the milliseconds of each request, as JSON")
    offer_to_write(parser)
    given = parser.parse_args()
    databases = given.database or ["sqlite", "postgresql"]
    with tempfile.TemporaryDirectory(prefix="med3d-bench-") as folder:
        found = {name: bench(name, Path(folder), given) for name in databases}
    rows = [
        [said, *(f"{statistics.median(found[name][said]):.1f}, {p99(found[name][said]):.1f}" for name in databases)]
        for said in found[databases[0]]
    ]
    if given.report:
        given.report.write_text(json.dumps(found))
    late = [
        f"{said} on {name}"
        for name in databases
        for said, taken in found[name].items()
        if p99(taken) > (METRICS_AIM_MS if "metrics" in said else AIM_MS)
    ]
    said = f"{given.runs:,} runs; median and p99 of {given.requests} requests, ms"
    aims = f"Over the aim ({AIM_MS} ms, metrics {METRICS_AIM_MS} ms): {', '.join(late) or 'none'}"
    text = table(["request", *databases], rows)
    publish("records", f"{text}\n\n{said}. {aims}.", DURABILITY, write=given.write)


if __name__ == "__main__":
    main()
