"""One scan from its image to the files of the derivative; an answer that is there already and stands is kept."""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
from nibabel.affines import voxel_sizes

from med3d_cli.bids.answers import Basis, ScanAnswer, as_matrix, basis_of, read_answer
from med3d_cli.bids.dataset import Scan
from med3d_cli.bids.derivative import (
    GENERATOR,
    ScanFiles,
    files_of,
    write_by,
    write_json,
    write_text,
    write_whole,
)
from med3d_cli.reports.head_report import mosaics_of
from med3d_cli.reports.methods import SPACE
from med3d_cli.reports.mosaics import png, side_by_side
from med3d_cli.reports.scan_page import ScanReport, scan_page
from med3d_contract.results import RunStatus
from med3d_pipeline.preprocessing.preprocess import Preprocessed
from med3d_pipeline.reading.volume_files.nifti import digest_file
from med3d_worker.analysis import Analyser, Analysis, Stated
from med3d_worker.faults import failure_of
from med3d_worker.preparing.preparation import acquisition_fields

XFORM_SCANNER, XFORM_MNI = 1, 4
PAGE = "group_brainage.html"
TENSOR = "The head as the model sees it: brain alone, bias field corrected, affine to the template, scaled to 0 to 1"


@dataclass(frozen=True)
class Order:
    """What is wanted of each scan. with_tensor: the head in template space, too."""

    dataset: Path
    out: Path
    with_tensor: bool = False


@dataclass(frozen=True)
class Outcome:
    """How one scan ended: the years of completed ones, code and reason of others.

    kept: an earlier answer stood. for_review: the years are for a person to look at.
    """

    scan: str
    status: RunStatus
    estimate_years: float | None = None
    code: str | None = None
    reason: str | None = None
    kept: bool = False
    for_review: bool = False


def answer_scan(analyser: Analyser, scan: Scan, order: Order) -> Outcome:
    """Analyse a scan and write its files, the answer last. Whatever goes wrong is an outcome."""
    try:
        return _answer(analyser, scan, order)
    except Exception as error:  # noqa: BLE001 - the edge: the next scan must not suffer
        failure = failure_of(error)
        return Outcome(scan.name.stem, RunStatus.FAILED, code=failure.code, reason=failure.reason)


def outcome_of(answer: ScanAnswer, *, kept: bool = False) -> Outcome:
    """Tell how a scan ended, by its answer."""
    problem = answer.refusal or answer.failure
    estimate = answer.result.brain_age.estimate if answer.result else None
    code, reason = (problem.code, problem.reason) if problem else (None, None)
    for_review = answer.result is not None and answer.result.assessment.decision == "review"
    return Outcome(answer.scan, answer.status, estimate, code, reason, kept, for_review)


def _answer(analyser: Analyser, scan: Scan, order: Order) -> Outcome:
    files = files_of(scan)
    image = order.dataset / scan.image
    basis = basis_of(scan, digest_file(image), analyser.model, analyser.calibrations, version(GENERATOR))
    earlier = read_answer(order.out / files.answer)
    if earlier is not None and _stands(earlier, basis, files, order):
        return outcome_of(earlier, kept=True)
    stated = Stated(
        site=analyser.sites[0] if analyser.sites else None,
        age=scan.age,
        told_sex=scan.sex,
        acquisition=scan.acquisition,
    )
    analysis = analyser(image, stated)
    written = _write_files(analysis, scan, files, order)
    report = ScanReport(
        scan.name.stem, analysis.report, basis.bundle, analyser.cohort, mosaics_of(analysis, analyser.template),
        _facts(scan), back=PAGE,
    )  # fmt: skip
    write_text(order.out / files.page, scan_page(report))
    answer = _as_answer(analysis, scan, basis, {**written, "page": files.page.as_posix()})
    write_json(order.out / files.answer, answer.model_dump(mode="json"))
    return outcome_of(answer)


def _stands(earlier: ScanAnswer, basis: Basis, files: ScanFiles, order: Order) -> bool:
    """Tell whether an answer is to the same question, and all that it names is there."""
    there = all((order.out / path).is_file() for path in earlier.files.values())
    tensor = not order.with_tensor or earlier.tensor_sha256 is None or files.tensor.as_posix() in earlier.files.values()
    return earlier.is_final and earlier.basis == basis and there and tensor and "page" in earlier.files


def _facts(scan: Scan) -> list[tuple[str, str]]:
    """Return what tables and sidecars say of the scan, in words for people."""
    told = acquisition_fields(scan.acquisition)
    facts = [("image", scan.image.as_posix())]
    facts += [(name.replace("_", " "), f"{value:g}" if isinstance(value, float) else value)
              for name, value in told.items() if value is not None]  # fmt: skip
    if scan.age.doubt:
        facts.append(("age", scan.age.doubt.sentence))
    return facts


def _as_answer(analysis: Analysis, scan: Scan, basis: Basis, written: dict[str, str]) -> ScanAnswer:
    images = analysis.prepared.images if analysis.prepared else None
    return ScanAnswer(
        **analysis.report.model_copy(update={"input": scan.image.as_posix()}).model_dump(),
        scan=scan.name.stem,
        participant_id=scan.participant,
        session_id=scan.session,
        entities=dict(scan.name.entities),
        basis=basis,
        answered_at=datetime.now(UTC).replace(microsecond=0),
        files=written,
        tensor_sha256=images.digest() if images else None,
        template_to_native=as_matrix(images.template_to_native) if images else None,
    )


def _write_files(analysis: Analysis, scan: Scan, files: ScanFiles, order: Order) -> dict[str, str]:
    """Write what there is to see of a head; what an earlier answer left and this has not is taken away."""
    written: dict[str, str] = {}
    for path in (
        files.answer,
        files.mask,
        _sidecar(files.mask),
        files.tensor,
        _sidecar(files.tensor),
        files.figure,
        files.page,
    ):
        (order.out / path).unlink(missing_ok=True)
    if analysis.pictures is not None:
        write_whole(order.out / files.figure, png(side_by_side(analysis.pictures)))
        written["figure"] = files.figure.as_posix()
    images = analysis.prepared.images if analysis.prepared else None
    if images is None:
        return written
    source = [f"bids:raw:{scan.image.as_posix()}"]
    _write_mask(order.out / files.mask, images)
    write_json(
        order.out / _sidecar(files.mask),
        {"Description": "The brain that was found", "Type": "Brain", "Sources": source},
    )
    written["mask"] = files.mask.as_posix()
    if order.with_tensor:
        _write_tensor(order.out / files.tensor, images)
        said = {"SkullStripped": True, "SpatialReference": SPACE, "Resolution": _spacing(images)}
        write_json(order.out / _sidecar(files.tensor), {"Description": TENSOR, "Sources": source} | said)
        written["tensor"] = files.tensor.as_posix()
    return written


def _write_mask(path: Path, images: Preprocessed) -> None:
    _save(path, nib.Nifti1Image(images.brain_mask, images.native_affine), XFORM_SCANNER)


def _write_tensor(path: Path, images: Preprocessed) -> None:
    _save(path, nib.Nifti1Image(images.tensor, images.tensor_affine), XFORM_MNI)


def _save(path: Path, image: Any, space: int) -> None:
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, space)
    write_by(path, lambda aside: nib.save(image, aside))


def _sidecar(image: Path) -> Path:
    return image.with_name(image.name.removesuffix(".nii.gz") + ".json")


def _spacing(images: Preprocessed) -> str:
    sides = voxel_sizes(images.tensor_affine)
    return f"{' x '.join(f'{side:g}' for side in sides)} mm"
