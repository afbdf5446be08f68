"""Takes the pictures of the pages in docs/images: ``python -m pages.screenshots docs/images``. Average heads, no patient."""

import io
import sys
import tempfile
from pathlib import Path

import pydicom
from PIL import Image

from med3d_cli.embedded.demo_head import average_head, write_mr_series
from med3d_client.results import StudyOptions
from med3d_client.study_stream import open_study
from med3d_pipeline.volume import Volume
from pages.browsing import Hospital, Person, chromium, few_slices
from rig.processes.embedded import write_small_head

LARGEST_BYTES = 150_000
WIDE, NARROW = (1280, 900), (400, 860)
VISITS = ((31.6, "SIEMENS"), (34.1, "Philips Medical Systems"), (36.5, "Philips Medical Systems"))
PEOPLE = (("S-0101", 31.0), ("S-0102", 58.5), ("S-0103", 36.0))


def studies(folder):
    """(folder, age, subject) of what is sent."""
    for number, (subject, age) in enumerate(PEOPLE):
        yield write_small_head(folder / subject, number), age, subject
    yield few_slices(folder / "few"), 47.0, "S-0104"
    head = average_head()
    for variant, (age, maker) in enumerate(VISITS):
        whole = folder / f"whole-{age}"
        voxels = head.voxels.copy()
        voxels[0, 0, 0] = 1 + variant  # the same images once more would be the same study
        write_mr_series(Volume(voxels, head.affine), whole)
        for path in whole.iterdir():  # two visits as a scanner of the model's calibration would have them, and another
            dataset = pydicom.dcmread(path)
            dataset.Manufacturer, dataset.MagneticFieldStrength = maker, "3"
            dataset.save_as(path)
        yield whole, age, "S-0105"


def send(hospital, folder):
    """Send all of them, and wait; by subject the id of the run of the last visit."""
    sent = []
    for path, age, subject in studies(folder):
        with open_study(path) as upload:
            options = StudyOptions(age_years=age, subject=subject)
            sent.append((subject, hospital.service.client.submit(upload, options).run_id))
    for _, run_id in sent:
        hospital.service.wait_for_end(run_id)
    return dict(sent)


def cohort_of_all(client, runs):
    """The page of a cohort of all studies."""
    cohort = client.post("/cohorts", json={"name": "memory-clinic"}).raise_for_status().json()["cohort_id"]
    entries = [{"study_id": client.get(f"/runs/{run_id}").json()["study_id"]} for run_id in runs.values()]
    client.post(f"/cohorts/{cohort}/members", json={"entries": entries}).raise_for_status()
    return f"/ui/cohorts/{cohort}"


def shots(client, runs):
    """(name, path, size, colour scheme) of each picture."""
    number, why_not = f"/ui/runs/{runs['S-0105']}", f"/ui/runs/{runs['S-0104']}"
    subject = client.get("/subjects", params={"participant_id": "S-0105"}).json()["subject_id"]
    return [
        ("pages-today", "/ui/today", (1280, 660), "dark"),
        ("pages-worklist", "/ui/worklist", (1280, 700), "dark"),
        ("pages-worklist-narrow", "/ui/worklist", NARROW, "dark"),
        ("pages-result", number, (1280, 1560), "dark"),
        ("pages-why-not", why_not, WIDE, "light"),
        ("pages-review", "/ui/review", WIDE, "dark"),
        ("pages-upload", "/ui/upload", WIDE, "light"),
        ("pages-person", f"/ui/subjects/{subject}", (1280, 1040), "dark"),
        ("pages-person-narrow", f"/ui/subjects/{subject}", NARROW, "light"),
        ("pages-model", "/ui/model", (1280, 1300), "light"),
        ("pages-cohort", cohort_of_all(client, runs), (1280, 1000), "dark"),
        ("pages-pacs", "/ui/pacs?description=t1+mprage", (1280, 760), "light"),
        ("pages-api", "/ui/api", (1280, 700), "dark"),
    ]


def smaller(png, largest_bytes=LARGEST_BYTES):
    """The picture in as many colours as fit into the size. Raises ValueError where none does."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 128, 64, 32):
        buffer = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= largest_bytes:
            return buffer.getvalue()
    raise ValueError("the picture is too large")


def main(target):
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        hospital = Hospital(Path(folder))
        try:
            runs = send(hospital, Path(folder) / "studies")
            hospital.service.client._http.post(
                f"/runs/{runs['S-0101']}/verdicts", json={"verdict": "accepted", "reader": "Dr. A. Reader"}
            ).raise_for_status()
            for name, path, (width, height), scheme in shots(hospital.service.client._http, runs):
                looks = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
                client = hospital.service.client if "worklist" in path else None  # pseudonyms
                person = Person(browser, hospital, **looks).enter(client, to=path)
                person.page.wait_for_load_state("load")
                (target / f"{name}.png").write_bytes(smaller(person.page.screenshot()))
                person.close()
        finally:
            hospital.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
