"""`med3d calibrate` around a model whose science is canned."""

import json
import signal
import tempfile
import zipfile
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from rich.console import Console
from typer.testing import CliRunner

from med3d_cli.calibration.calibrate import CalibrationOrder, make_calibration
from med3d_cli.calibration.calibration_list import read_list
from med3d_cli.calibration.calibration_out import check_out
from med3d_cli.calibration.calibration_page import calibration_page, cautions
from med3d_cli.errors import CommandError
from med3d_cli.main import make_app
from med3d_contract.scanner_facts import ScannerFacts, sidecar_facts
from med3d_pipeline.bundle.bundle_signature import TrustedKeys, make_signing_key, read_signing_key
from med3d_pipeline.calibration.files import read_calibration
from med3d_pipeline.calibration.fitting import fit_site
from med3d_pipeline.calibration.outlook import outlook
from med3d_pipeline.calibration.site_calibration import CalibratedSite
from rig.science.calibrations import CREATED, bearings, site_heads
from rig.science.models import CannedPreprocessor, loaded_model, write_small_series
from rig.science.predictions import latent_space, predictor, tensors


class HeadsInTurn(CannedPreprocessor):
    """Each head another tensor; the model of rig.science.predictions makes 50 + 10 x years of its first value."""

    def __init__(self, estimates):
        super().__init__()
        self.tensors = [tensors([(years - 50) / 10, 0.1 * (n % 3), 0, 0])[0] for n, years in enumerate(estimates)]

    def __call__(self, volume, on_stage=lambda _: None):
        self.tensor = self.tensors[self.calls]
        self.overlap = 0.1 if self.calls in self.faulty else 0.95
        return super().__call__(volume, on_stage)

    faulty = frozenset()


class Ended(CannedPreprocessor):
    """While it works, somebody sends this process a signal."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def __call__(self, volume, on_stage=lambda _: None):
        signal.raise_signal(self.number)
        return super().__call__(volume, on_stage)


@pytest.fixture
def heads(tmp_path):
    """22 heads of 20 to 62 years, as files and a list."""
    voxels = np.random.default_rng(0).integers(1, 900, (70, 80, 72)).astype(np.int16)
    lines = ["path,age"]
    for number in range(22):
        nib.save(nib.Nifti1Image(voxels + number, np.diag([2.5, 2.5, 2.5, 1.0])), tmp_path / f"{number}.nii")
        lines.append(f"{number}.nii,{20 + 2 * number}")
    (tmp_path / "heads.csv").write_text("\n".join(lines))
    return tmp_path / "heads.csv"


def made(heads, faulty=(), key=None, model=None, copies=None, **order):
    """Calibrate; copies: heads whose voxels are those of another, by their places in the list."""
    places = [(copies or {}).get(number, number) for number in range(22)]
    preprocessor = HeadsInTurn([20 + 2 * place + 5 for place in places])
    preprocessor.faulty = frozenset(faulty)
    console = Console(record=True, width=300)
    out = heads.parent / "site_calibration.json"
    make_calibration(
        replace(loaded_model(preprocessor), predictor=model or predictor()),
        read_list(heads),
        CalibrationOrder("Ward 3", out, key, 365, **order),
        console,
    )
    return out, console.export_text()


def test_a_site_s_heads_become_a_signed_calibration_and_a_page(heads, tmp_path, capsys):
    make_signing_key(tmp_path / "hospital.pem")
    out, _ = made(heads, key=read_signing_key(tmp_path / "hospital.pem"))
    found = read_calibration(out, TrustedKeys.read(tmp_path)).calibration
    assert (found.site, found.heads, found.age_range_years) == ("Ward 3", 22, (20.0, 62.0))
    assert CalibratedSite(found, latent_space()).age_years(45.0) == pytest.approx(40.0, abs=0.01)
    shown = capsys.readouterr().out
    assert "+5.0 years" in shown
    assert "expected with 100 heads" in shown
    page = (tmp_path / "site_calibration.html").read_text()
    assert page.count("<svg") == 2
    assert "Calibration for Ward 3" in page


def test_heads_that_the_quality_gate_refuses_are_left_out_and_listed_with_their_rows(heads):
    out, said = made(heads, faulty=[4, 7])
    assert "left out: row 6: not_a_head:" in said
    assert "left out: row 9: not_a_head:" in said
    assert "NOT SIGNED" in said
    found = read_calibration(out, None).calibration
    assert (found.heads, found.left_out) == (20, 2)
    assert "<td>not_a_head</td><td>2</td><td>6, 9</td>" in (heads.parent / "site_calibration.html").read_text()


def test_a_scan_counts_once_though_it_lies_there_under_two_names(heads):
    out, said = made(heads, copies={7: 4, 10: 4})  # the same remainder by 3: HeadsInTurn
    assert "left out: row 9: same_person: An earlier row is of this very scan." in said
    assert "left out: row 12: same_person:" in said
    assert read_calibration(out, None).calibration.heads == 20


def test_rows_whose_headers_tell_another_age_are_named(heads, tmp_path):
    for number, told in ((4, "072Y"), (7, "034Y"), (9, "000Y")):
        write_small_series(tmp_path / f"head{number}")
        for path in (tmp_path / f"head{number}").iterdir():
            dataset = dcmread(path)
            dataset.PatientAge = told
            dataset.save_as(path)
        heads.write_text(heads.read_text().replace(f"\n{number}.nii,", f"\nhead{number},"))
    out, said = made(heads)
    assert "the headers of row 6 tell another age than the list, whose age was taken" in said
    assert read_calibration(out, None).calibration.heads == 22


def test_scans_that_the_model_learned_from_are_left_out(heads):
    others = np.random.default_rng(3).normal(0, 5, (20, 3))
    known = [[(20 + 2 * number + 5 - 50) / 10, 0.1 * (number % 3), 0] for number in (4, 7)]
    learned = np.array([*others, *known])
    model = predictor(latent_space(cohort_pca=learned[:, :2], cohort_pls_age=learned[:, 1:]))
    out, said = made(heads, model=model)
    assert "left out: row 6: training_scan:" in said
    assert "left out: row 9: training_scan:" in said
    assert read_calibration(out, None).calibration.heads == 20


def test_too_few_that_pass_are_refused_and_nothing_is_written(heads):
    with pytest.raises(CommandError, match=r"calibration_too_few_heads: There are 19 .* \(3 more") as refused:
        made(heads, faulty=[1, 2, 3])
    assert refused.value.exit_code == 3
    assert not (heads.parent / "site_calibration.json").exists()


def run(*arguments):
    return CliRunner().invoke(make_app(), ["calibrate", *map(str, arguments)])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_ends_it_finds_no_unpacked_head(heads, tmp_path, number):
    packed = tmp_path / "0.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(tmp_path / "0.nii", "0.nii")
    heads.write_text(heads.read_text().replace("0.nii,20", "0.zip,20"))
    (tmp_path / "scratch").mkdir()
    before, tempfile.tempdir = (signal.signal(number, lambda *_: None), str(tmp_path / "scratch"))
    try:
        with pytest.raises(SystemExit) as ended:
            make_calibration(
                replace(loaded_model(Ended(number)), predictor=predictor()),
                read_list(heads),
                CalibrationOrder("Ward 3", tmp_path / "x.json", None, 365),
                Console(quiet=True),
            )
    finally:
        tempfile.tempdir = None
        signal.signal(number, before)
    assert ended.value.code == 128 + number
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "x.json").exists()


def test_heads_of_two_sites_by_the_list_are_refused_before_any_is_looked_at(heads, tmp_path):
    first, *rows = heads.read_text().splitlines()
    heads.write_text("\n".join([f"{first},site", *(f"{row},{'AB'[place % 2]}" for place, row in enumerate(rows))]))
    done = run(heads, "--site", "Ward 3", "--out", tmp_path / "x.json")
    assert str(done.exception).startswith("calibration_several_scanners: The heads come from 2 scanners (A; B)")


def test_patients_are_refused_before_any_head_is_looked_at(heads, tmp_path):
    text = heads.read_text().replace("path,age", "path,age,diagnosis").replace("\n", ",MS\n")
    heads.write_text(text.replace("diagnosis,MS", "diagnosis") + ",MS")
    done = run(heads, "--site", "Ward 3", "--out", tmp_path / "x.json")
    assert str(done.exception).startswith("calibration_patients: 22 of 22 heads")
    assert done.exception.exit_code == 3


def test_rows_that_are_left_out_are_listed_though_too_few_remain(heads, tmp_path):
    heads.write_text(heads.read_text().replace("\n5.nii,", "\ngone.nii,").replace(",62", ",old").replace(",60", ",7"))
    done = run(heads, "--site", "Ward 3", "--out", tmp_path / "x.json")
    assert str(done.exception).startswith("calibration_too_few_heads: There are 19")
    assert "left out: row 7: no_image" in done.stderr
    assert "left out: row 22: age_unusable" in done.stderr
    assert "no column tells who is healthy" in done.stderr


@pytest.mark.parametrize(
    ("site", "code"),
    [
        (" Ward  3 ", "calibration_too_few_heads"),
        ("<b>", "calibration_bad_name"),
        *((name, "calibration_bad_name") for name in ("P 12345", "Doe 1980-03-12", "Doe 12.3.80", "Doe 12 Mar 1980")),
    ],
)
def test_what_no_look_can_mend_is_refused_at_once(tmp_path, site, code):
    (tmp_path / "heads.csv").write_text("path,age\n")
    done = run(tmp_path / "heads.csv", "--site", site, "--out", tmp_path / "x.json")
    assert str(done.exception).startswith(code)


def test_a_calibration_that_tells_little_says_so_on_its_page():
    narrow = fit_site(site_heads(20, ages=(30, 40), noise=9.0), "Ward 3", bearings(), CREATED)
    page = calibration_page(narrow, outlook(narrow, 0.9), 0.9, ())
    assert "the offset alone was fitted" in page
    assert "its numbers tell little of one person" in page
    assert "<script" not in page


def test_a_head_far_from_all_others_is_told_for_its_age_may_be_a_slip():
    heads = site_heads(20, noise=3.0)
    heads[3] = replace(heads[3], age_years=62.0)  # for 26
    (said,) = cautions(fit_site(heads, "Ward 3", bearings(), CREATED))
    assert said.startswith("The head stated as 62 years old lies 3")
    assert cautions(fit_site(site_heads(20, noise=3.0), "Ward 3", bearings(), CREATED)) == []
    assert cautions(fit_site(site_heads(20), "Ward 3", bearings(), CREATED)) == []


def test_nifti_heads_are_of_the_scanner_that_their_sidecars_tell(heads):
    for number in range(22):
        said = {"Manufacturer": "Siemens", "ManufacturersModelName": "Prisma", "MagneticFieldStrength": 3}
        (heads.parent / f"{number}.json").write_text(json.dumps(said))
    scanner = read_calibration(made(heads)[0], None).calibration.scanner
    assert scanner.in_words() == "Siemens Prisma, 3 T"


def test_or_of_the_one_that_is_stated_and_else_of_none(heads):
    stated = made(heads, scanner=ScannerFacts("GE", "Signa", 1.5))[0]
    assert read_calibration(stated, None).calibration.scanner.in_words() == "GE Signa, 1.5 T"
    assert not read_calibration(made(heads)[0], None).calibration.scanner.is_known


def test_heads_of_two_scanners_are_refused(heads):
    (heads.parent / "3.json").write_text('{"Manufacturer": "GE"}')
    with pytest.raises(CommandError, match="calibration_several_scanners"):
        made(heads, scanner=ScannerFacts("Siemens", "Prisma", 3.0))


@pytest.mark.parametrize("said", [b"", b"[]", b"{", b"\xff", b'{"Manufacturer": 3, "MagneticFieldStrength": "3"}'])
def test_a_sidecar_that_says_nothing_usable_is_none(tmp_path, said):
    (tmp_path / "a.json").write_bytes(said)
    assert sidecar_facts(tmp_path / "a.nii.gz") == ScannerFacts()
    assert sidecar_facts(tmp_path / "none.nii") == ScannerFacts()


def test_words_in_square_brackets_are_shown_as_they_are(heads, capsys):
    made(heads, scanner=ScannerFacts("GE", "Signa [/fit]", 1.5))
    assert "[/fit]" in capsys.readouterr().out


def test_cautions_of_the_page_are_said_on_the_console(heads):
    lines = [line.split(",") for line in heads.read_text().splitlines()]
    heads.write_text(
        "\n".join([",".join(lines[0]), *(f"{path},{40 + n / 2}" for n, (path, _) in enumerate(lines[1:]))])
    )
    said = made(heads)[1]
    assert "the offset alone was fitted" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.txt", "must end in .json"),
        ("gone/a.json", "does not exist"),
        ("mine.json", "mine.json is there"),
        ("page.json", "page.html is there"),
        ("signed.json", "signed.json.sig is there"),
        ("list.json", "would replace list.json"),
        ("key.json", "would replace key.json"),
    ],
)
def test_what_may_not_be_replaced_is_told_before_any_head_is_read(tmp_path, name, words):
    kept = {"mine.json": "{}", "page.html": "<title>Mine</title>", "signed.json.sig": "x", "list.json": "path,age\n"}
    for file, text in (kept | {"key.json": "no key"}).items():
        (tmp_path / file).write_text(text)
    arguments = ("--site", "Ward 3", "--out", tmp_path / name, "--key", tmp_path / "key.json")
    done = run(tmp_path / "list.json", *arguments)
    assert words in str(done.exception)
    assert all((tmp_path / file).read_text() == text for file, text in kept.items())


def test_a_calibration_of_ours_may_be_replaced_and_its_signature_goes(heads, tmp_path):
    make_signing_key(tmp_path / "hospital.pem")
    out, _ = made(heads, key=read_signing_key(tmp_path / "hospital.pem"))
    check_out(out, [heads])
    made(heads)
    assert not (tmp_path / "site_calibration.json.sig").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_page_that_cannot_be_put_in_place_is_one_clear_line(heads):
    (heads.parent / "site_calibration.html").mkdir()
    with pytest.raises(CommandError, match="cannot be written"):
        made(heads)
