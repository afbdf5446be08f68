"""What a person waits for at 100,000 runs: worklist and result to the first byte and until they can be used; the viewer.

    PYTHONPATH=tests python -m bench.bench_pages [--runs 100000] [--loads 20] [--database sqlite|postgresql] [--keep]

Debian's Chromium opens the pages of a real API process, signed in with the clinical grant. The head in the viewer has
256 x 256 x 256 voxels and lies ready in the store (a worker makes it once for each run, in some seconds). Each page and
the viewer is a part with a time of its own: one that misses it, or is answered with an error, is reported as missed, and
the others go on. How far it is, standard error tells.
"""

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.bench_records import UNLIMITED, fill
from bench.measuring import keep_in_docs, machine, table
from med3d_contract.volumes import StoredVolume, StoredVolumes, VolumeName, volume_key, volumes_key
from med3d_pages.files import viewer_library
from med3d_pipeline.volume import Volume
from med3d_worker.heads.head_volumes import nifti_of_head, nifti_of_mask
from pages.browsing import chromium, sync_api
from rig.dicom.series import head_like
from rig.processes.service import Processes, new_database, postgresql

PAGE = Path(__file__).parents[2] / "docs" / "pages.md"
SIDE = 256
PART_S = 60
"""So long a part may take: loads that do not fit are left out, and said to be."""
WARM_UP = 2
WAIT_MS = 30_000
"""So long one wait for the browser may take."""
MOST_BYTES, FIRST_PAGE_MS, VIEWER_MS = 150_000, 100, 2000
TIMES = """() => { const found = performance.getEntriesByType("navigation")[0];
  const all = [found, ...performance.getEntriesByType("resource")].filter((one) => !one.name.includes("/pictures/"));
  return found.loadEventEnd > 0
    && [found.responseEnd, found.domInteractive, found.loadEventEnd, all.reduce((sum, one) => sum + one.decodedBodySize, 0)]; }"""


@dataclass
class Part:
    """What was measured of one page or of the viewer, and why it ended before its time."""

    taken: list = field(default_factory=list)
    missed: str = ""


class MissedError(Exception):
    """A part was answered otherwise than it should be."""


def tell(said):
    print(f"{time.strftime('%H:%M:%S')} {said}", file=sys.stderr, flush=True)


def measure(said, context, load, times, clock=time.monotonic):
    """What ``load(page)`` gives, so often, in a tab of its own; it ends where the part's time is over or a load fails."""
    part, until, page = Part(), clock() + PART_S, context.new_page()
    page.set_default_timeout(WAIT_MS)
    try:
        for number in range(times):
            if clock() > until:
                part.missed = f"{number} of {times} loads in {PART_S} s"
                break
            part.taken.append(load(page))
    except (MissedError, sync_api.Error) as error:
        part.missed = str(error).splitlines()[0]
    finally:
        page.close()
    tell(f"{said}: {len(part.taken)} loads{part.missed and f', missed: {part.missed}'}")
    return part


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


def open_page(page, path):
    """First page, interactive, loaded in ms; bytes."""
    go(page, path)
    return page.wait_for_function(TIMES).json_value()  # unlike evaluate, this ends where the page hangs


def open_viewer(page, path):
    """Milliseconds from the click to the first image: the planes of the head, before layers and space."""
    go(page, path)
    if page.locator("#viewer").count() == 0:
        raise MissedError("the page has no viewer")
    ended = page.locator("#viewer[data-first], #viewer[data-failed]")
    ended.wait_for(state="attached")
    if (first := ended.get_attribute("data-first")) is None:
        raise MissedError("the viewer failed")
    return float(first)


def go(page, path):
    answer = page.goto(path, wait_until="load")
    if answer is None or answer.status != 200:
        raise MissedError(f"answered with {answer and answer.status}")


def bench(name, folder, given):
    with postgresql(fsync=True) if name == "postgresql" else nullcontext() as url:
        environment = UNLIMITED | ({"MED3D_DATABASE_URL": new_database(url)} if url else {})
        service = Processes(folder / name, **environment)
        tell(f"{name}: storing {given.runs:,} runs")
        fill(service, given.runs)
        tell(f"{name}: starting the service")
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
        context = browser.new_context(base_url=base, viewport={"width": 1280, "height": 900})
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto(f"{link}&to=/ui/today")
        page.wait_for_url(f"{base.rstrip('/')}/ui/today")
        page.close()
        paths = {
            "worklist": "/ui/worklist",
            "worklist, older": f"/ui/worklist?cursor={cursor}",
            "worklist, refused": "/ui/worklist?show=refused",
            "today": "/ui/today",
            "result": f"/ui/runs/{run_id}",
        }
        found = {}
        for said, path in paths.items():
            found[said] = measure(said, context, lambda page, path=path: open_page(page, path), WARM_UP + given.loads)
            del found[said].taken[:WARM_UP]
        if viewer_library() is None:
            return found, Part(missed="the viewer is not fetched (make pages)")
        viewer = f"/ui/runs/{run_id}/viewer"
        return found, measure("viewer", context, lambda page: open_viewer(page, viewer), 5)


def rows_of(found):
    for said, part in found.items():
        if not part.taken:
            yield [said, *("missed" for _ in range(4))]
            continue
        first, usable, loaded, size = zip(*part.taken, strict=True)
        yield [
            said,
            *(f"{statistics.median(times):.0f} ({max(times):.0f})" for times in (first, usable, loaded)),
            f"{max(size) / 1000:.0f}",
        ]


def report_of(name, found, viewer, given):
    """The table of one database, and what the viewer took."""
    columns = ["page", "first page", "interactive", "loaded", "KB with its files"]
    said = f"{name}, {given.runs:,} runs; median (longest) of {given.loads} loads in ms\n\n{table(columns, rows_of(found))}\n"
    if not viewer.taken:
        return said
    times = f"{statistics.median(viewer.taken):.0f} ms ({max(viewer.taken):.0f})"
    return f"{said}\nViewer, {SIDE}^3: {times} to the first image, {len(viewer.taken)} times.\n"


def is_late(part):
    """Whether a page is over the aims, or was not seen at all."""
    return (
        not part.taken
        or statistics.median(one[0] for one in part.taken) > FIRST_PAGE_MS
        or max(one[3] for one in part.taken) > MOST_BYTES
    )


def main(arguments=None, bench=bench):
    """Measure on each database, and tell of each when it ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--loads", type=int, default=20)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--keep", action="store_true", help="write the table into docs/pages.md")
    given = parser.parse_args(arguments)
    said, late, missed = [], [], []
    for name in given.database or ["sqlite", "postgresql"]:
        with tempfile.TemporaryDirectory(prefix="med3d-bench-") as folder:
            found, viewer = bench(name, Path(folder), given)
        said.append(report_of(name, found, viewer, given))
        print(said[-1], flush=True)  # what is measured is told, whatever becomes of the next database
        parts = found | {"viewer": viewer}
        late += [f"{page} on {name}" for page, part in found.items() if is_late(part)]
        late += [f"viewer on {name}"] if not viewer.taken or statistics.median(viewer.taken) > VIEWER_MS else []
        missed += [f"{part} on {name} ({of.missed})" for part, of in parts.items() if of.missed]
    aims = f"first page {FIRST_PAGE_MS} ms, {MOST_BYTES // 1000} KB, viewer {VIEWER_MS} ms"
    over = f"Over the aims ({aims}): {', '.join(late) or 'none'}. Missed: {'; '.join(missed) or 'none'}."
    said.append(f"{machine()}\n\n{over}")
    print(said[-1])
    if given.keep:
        keep_in_docs("pages", "\n".join(said), PAGE)


if __name__ == "__main__":
    main()
