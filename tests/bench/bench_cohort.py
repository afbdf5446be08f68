"""A cohort worked through by `med3d serve`, cold and again by a new encoder, beside a plain loop over med3d_pipeline.

    python -m bench.bench_cohort [--members 136] [--loop 136]

The members are spread evenly over ixi_hh, one worker with two threads on both sides. Seconds of a cohort are those from
POST /cohorts/{cohort}/reprocess until it is finished; the loop's begin when its model is loaded. A loop over fewer
(``--loop``) is stated per study and extrapolated.
"""

import argparse
import csv
import os
import tempfile
import time
from pathlib import Path

from bench.measuring import machine, table
from med3d_cli.cohort.cohort_import import import_scans
from med3d_client.cohorts import CohortsClient
from med3d_contract.cohort_manifest import read_manifest
from med3d_contract.cohorts import CohortDraft, ReprocessingRequest
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.study.study import load_series, read_study, select_series
from rig.processes.embedded import Service
from rig.science.bundles import SHIFTED_VERSION, shifted_bundle

THREADS = 2


def chosen_members(count, folder):
    """A manifest of so many of ixi_hh."""
    whole = Path(os.environ["MED3D_TEST_DATA"]) / "ixi_hh"
    rows = list(csv.DictReader((whole / "participants.csv").read_text().splitlines()))
    chosen = [rows[round(place * len(rows) / count)] for place in range(count)]
    with (folder / "participants.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"t1w": str(whole / row["t1w"])} for row in chosen)
    return read_manifest(folder)


def plain_loop(files):
    """Seconds of a loop that reads, preprocesses, judges and predicts."""
    bundle = Bundle.open(Bundle.default_path(), threads=THREADS)
    bundle.run_reference_case()
    preprocess, predictor = bundle.preprocessor(), bundle.predictor()
    started = time.perf_counter()
    for path in files:
        study = read_study([path])
        loaded = load_series(study, select_series(study).chosen)
        made = preprocess(loaded.volume, lambda _: None)
        assert judge_quality(made.measures, bundle.quality_limits).refusal is None, path.name
        predictor.predict(made.tensor[None], [SubjectAttributes()], [loaded.acquisition])
    return time.perf_counter() - started


def worked_through(client, name, bundle):
    """Seconds until every member has its answer."""
    started = time.perf_counter()
    client.reprocess(name, ReprocessingRequest(bundle=bundle))
    last = list(client.follow(name))[-1]
    assert last.members.completed == last.members.all, last
    return time.perf_counter() - started


def cohort_by(service, bundle, scans, named):
    """Start the service with ``bundle``, bring the cohort in where it is new, work it through; import and run seconds."""
    os.environ |= {"MED3D_BUNDLE": str(bundle), "MED3D_ALLOW_UNTRUSTED_BUNDLE": "1"}
    service.start()
    client = CohortsClient(str(service.client._http.base_url), service.data_dir.api_key_file.read_text().strip())
    if not client.all():
        client.create(CohortDraft(name="bench"))
    started = time.perf_counter()
    import_scans(client, "bench", scans)
    while client.progress("bench").members.copying:
        time.sleep(0.2)
    imported_s = time.perf_counter() - started
    run_s = worked_through(client, "bench", named)
    client.close()
    service.stop()
    return imported_s, run_s


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=136)
    parser.add_argument("--loop", type=int, help="members of the plain loop; default: all")
    given = parser.parse_args()
    count = given.members
    looped = given.loop or count
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scans = chosen_members(count, folder)
        step = count / looped
        loop_s = plain_loop([scans[round(place * step)].t1w for place in range(looped)]) * step
        print(f"loop {loop_s:.1f} s, measured over {looped}", flush=True)
        service = Service(folder)
        try:
            imported_s, cold_s = cohort_by(service, Bundle.default_path(), scans, None)
            print(f"import {imported_s:.1f} s, cold {cold_s:.1f} s", flush=True)
            _, warm_s = cohort_by(
                service, shifted_bundle(folder / "next", 1.0), scans, f"infovae-two-sites@{SHIFTED_VERSION}"
            )
        finally:
            service.end()
    print(machine())
    rows = [
        (f"plain loop over med3d_pipeline ({looped} of {count})", f"{loop_s:.1f}", f"{count / loop_s:.2f}", ""),
        ("import and working copies", f"{imported_s:.1f}", f"{count / imported_s:.2f}", ""),
        ("cohort, cold", f"{cold_s:.1f}", f"{count / cold_s:.2f}", f"{100 * (cold_s / loop_s - 1):+.1f} % of the loop"),
        (
            "cohort, new encoder, tensors kept",
            f"{warm_s:.1f}",
            f"{count / warm_s:.2f}",
            f"{cold_s / warm_s:.1f} times cold",
        ),
    ]
    print(table(("what", "seconds", "studies/s", ""), rows))


if __name__ == "__main__":
    main()
