"""What a person waits for at 100,000 runs: worklist and result to the first byte and until they can be used; the viewer.

    PYTHONPATH=tests python -m bench.bench_pages [--runs 100000] [--loads 20] [--database sqlite|postgresql] [--keep]

Debian's Chromium opens the pages of a real API process, signed in with the clinical grant. The head in the viewer has
256 x 256 x 256 voxels and lies ready in the store (a worker makes it once for each run, in some seconds).
"""

import argparse
import statistics
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from bench.bench_records import UNLIMITED, fill
from bench.measuring import keep_in_docs, machine, table
from med3d_contract.volumes import StoredVolume, StoredVolumes, VolumeName, volume_key, volumes_key
from med3d_pages.files import viewer_library
from med3d_pipeline.volume import Volume
from med3d_worker.heads.head_volumes import nifti_of_head, nifti_of_mask
from pages.browsing import TIMEOUT_MS, chromium
from rig.dicom.series import head_like
from rig.processes.service import Processes, new_database, postgresql

PAGE = Path(__file__).parents[2] / "docs" / "pages.md"
SIDE = 256
VIEWER_TIMEOUT_MS = 120_000
MOST_BYTES, FIRST_PAGE_MS, VIEWER_MS = 150_000, 100, 2000
TIMES = """(() => { const found = performance.getEntriesByType("navigation")[0];
  const all = [found, ...performance.getEntriesByType("resource")].filter((one) => !one.name.includes("/pictures/"));
  return [found.responseEnd, found.domInteractive, found.loadEventEnd, all.reduce((sum, one) => sum + one.decodedBodySize, 0)]; })()"""


def put_head(service, run_id):
    """Lay a head and its brain into the store, as a worker does."""
    head = Volume(head_like((SIDE, SIDE, SIDE)).astype(np.float32), np.eye(4))
    brain = (head.voxels > 60).astype(np.uint8)
    made = {VolumeName.HEAD: nifti_of_head(head, (0.0, 180.0)), VolumeName.BRAIN: nifti_of_mask(brain, head.affine)}
    kept = []
    for name, content in made.items():
        stored = service.store.put(volume_key(run_id, name), content)
        kept.append(StoredVolume(name=name, size_bytes=len(content), sha256=stored.sha256))
    service.store.put(volumes_key(run_id), StoredVolumes(volumes=tuple(kept)).model_dump_json().encode())


def open_page(page, path, loads):
    """(first page, interactive, loaded in ms; bytes) of each load; the first ones warm up."""
    taken = []
    for number in range(loads + 2):
        page.goto(path, wait_until="load")
        page.wait_for_function("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
        if number >= 2:
            taken.append(page.evaluate(TIMES))
    return taken


def open_viewer(page, run_id, times):
    """Milliseconds from the click to the first image: the planes of the head, before layers and space."""
    taken = []
    for _ in range(times):
        page.goto(f"/ui/runs/{run_id}/viewer")
        shown = page.locator("#viewer[data-first]")
        shown.wait_for(timeout=VIEWER_TIMEOUT_MS)
        taken.append(float(shown.get_attribute("data-first")))
    return taken


def bench(name, folder, given):
    with postgresql(fsync=True) if name == "postgresql" else nullcontext() as url:
        environment = UNLIMITED | ({"MED3D_DATABASE_URL": new_database(url)} if url else {})
        service = Processes(folder / name, **environment)
        fill(service, given.runs)
        try:
            service.start("broker", "api")
            return look(service, given)
        finally:
            service.close()


def look(service, given):
    """Open the pages in a browser."""
    runs = service.client.get("/runs", params={"status": "completed", "limit": 50}).json()["items"]
    run_id, cursor = runs[0]["run_id"], service.client.get("/runs", params={"limit": 50}).json()["next_cursor"]
    put_head(service, run_id)
    base = str(service.clinical.base_url)
    link = service.clinical.post("/sign-in-links").json()["path"]
    with chromium() as browser:
        page = browser.new_context(base_url=base, viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(6 * TIMEOUT_MS)
        page.goto(f"{link}&to=/ui/today")
        page.wait_for_url("**/ui/today")
        paths = {
            "worklist": "/ui/worklist",
            "worklist, older": f"/ui/worklist?cursor={cursor}",
            "worklist, refused": "/ui/worklist?show=refused",
            "today": "/ui/today",
            "result": f"/ui/runs/{run_id}",
        }
        found = {said: open_page(page, path, given.loads) for said, path in paths.items()}
        viewer = open_viewer(page, run_id, 5) if viewer_library() else []
    return found, viewer


def rows_of(found):
    for said, taken in found.items():
        first, usable, loaded, size = zip(*taken, strict=True)
        yield [
            said,
            *(f"{statistics.median(times):.0f} ({max(times):.0f})" for times in (first, usable, loaded)),
            f"{max(size) / 1000:.0f}",
        ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--loads", type=int, default=20)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--keep", action="store_true", help="write the table into docs/pages.md")
    given = parser.parse_args()
    said, late = [], []
    for name in given.database or ["sqlite", "postgresql"]:
        with tempfile.TemporaryDirectory(prefix="med3d-bench-") as folder:
            found, viewer = bench(name, Path(folder), given)
        said.append(f"{name}, {given.runs:,} runs; median (longest) of {given.loads} loads in ms\n")
        columns = ["page", "first page", "interactive", "loaded", "KB with its files"]
        said.append(table(columns, rows_of(found)) + "\n")
        if viewer:
            said.append(
                f"Viewer, {SIDE}^3: {statistics.median(viewer):.0f} ms ({max(viewer):.0f}) to the first image.\n"
            )
        late += [
            f"{page} on {name}"
            for page, taken in found.items()
            if statistics.median(one[0] for one in taken) > FIRST_PAGE_MS or max(one[3] for one in taken) > MOST_BYTES
        ]
        late += [f"viewer on {name}"] if viewer and statistics.median(viewer) > VIEWER_MS else []
    said.append(machine())
    aims = f"first page {FIRST_PAGE_MS} ms, {MOST_BYTES // 1000} KB, viewer {VIEWER_MS} ms"
    said.append(f"\nOver the aims ({aims}): {', '.join(late) or 'none'}.")
    text = "\n".join(said)
    print(text)
    if given.keep:
        keep_in_docs("pages", text, PAGE)


if __name__ == "__main__":
    main()
