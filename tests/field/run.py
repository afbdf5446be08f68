"""Pictures from the field, each analysed and held against the answers that are right.

    PYTHONPATH=tests python -m field.run [--only WORD] [--processes 2] [--both-ways]

Sample data lie in MED3D_TEST_DATA, scripts that write what users reported in MED3D_FIELD_CASES; without them their cases are
left out, and that is said. With --both-ways each is sent through a whole service, too, and its answer held against the
one of `med3d analyse`. Exits with status 1 where an answer is wrong.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np

from field.case import Answer, Answered, Case, Room, answer_of, answers_to
from field.own_oddities import odd_pictures, odd_series
from field.own_pictures import own_pictures
from field.own_protocols import protocol_rows
from field.own_series import own_series
from field.own_stacks import stack_rows
from field.own_words import word_rows
from field.reported_dicom import reported_dicom
from field.reported_nifti import reported_nifti
from field.sample_data import sample_data
from field.scripts import without_answer
from field.service_way import answers_by_service, compared
from field.tables import Row, age_rows, header_rows
from med3d_cli.studies.opened_model import open_analyser
from med3d_pipeline.study.study import load_series, read_study, select_series
from med3d_worker.analysis import Analyser, Stated

_here: dict[str, Analyser | Room] = {}


def begin(room: Room) -> None:
    """Load the model once per process, which takes one core: the processes are there for the others."""
    os.environ.setdefault("MED3D_THREADS", "1")
    _here["analyser"], _here["room"] = open_analyser(None), room


def analyse(case: Case) -> Answered:
    """Make the input and analyse it in this process."""
    room, analyser = _here["room"], _here["analyser"]
    assert isinstance(room, Room)
    assert isinstance(analyser, Analyser)
    return answers_to(case, room, lambda path, series: answer_of(analyser(path, Stated(series=series)).report))


def room_of(data: str | None, scripts: str | None, folder: Path) -> Room:
    """What is there to make cases from; the sample study's MPRAGE is written as NIfTI once."""
    where = {name: Path(path) for name, path in (("data", data), ("scripts", scripts)) if path and Path(path).is_dir()}
    head = None
    if "data" in where:
        study = read_study([where["data"] / "dicom" / "siemens_trio_study"])
        volume = load_series(study, select_series(study).chosen).volume
        image = nib.Nifti1Image(volume.voxels.astype(np.int16), volume.affine)
        image.set_sform(volume.affine, 1)
        image.set_qform(volume.affine, 1)
        head = folder / "trio.nii.gz"
        nib.save(image, head)
    return Room(where.get("data"), where.get("scripts") if head else None, head)


def all_cases(room: Room) -> list[Case]:
    """Those that can be made here."""
    data = sample_data(room.data) if room.data else []
    return [
        *own_pictures(),
        *own_series(),
        *odd_pictures(),
        *odd_series(),
        *data,
        *(reported_dicom() + reported_nifti() if room.scripts else []),
    ]


def chosen_cases(cases: Sequence[Case], word: str) -> list[Case]:
    """Those whose name has ``word``, with those whose ages they are held against."""
    wanted = [case for case in cases if word in case.name]
    bases = {right.like for case in wanted for right in case.right}
    return [case for case in cases if case in wanted or case.name in bases]


def by_name(answers: Sequence[Answered]) -> dict[str, Answer]:
    """Every input's answer by its name."""
    return {name: answer for of_case in answers for name, answer, _ in of_case}


def judged(cases: Sequence[Case], answers: Sequence[Answered]) -> list[Row]:
    """Hold every answer against its right ones."""
    others = by_name(answers)
    return [
        Row(
            name,
            " or ".join(map(str, case.right)),
            str(answer),
            any(right.fits(answer, others) for right in case.right),
            seconds,
        )
        for case, of_case in zip(cases, answers, strict=True)
        for name, answer, seconds in of_case
    ]


def run(cases: Sequence[Case], room: Room, processes: int, *, both_ways: bool = False) -> list[Row]:
    """All of them, in as many processes; both_ways: by the service, too."""
    answers = analysed(cases, room, processes)
    rows = judged(cases, answers)
    if both_ways:
        rows += compared(by_name(answers), by_name(answers_by_service(cases, room, processes)))
    return rows


def analysed(cases: Sequence[Case], room: Room, processes: int) -> list[Answered]:
    """The answers of `med3d analyse`."""
    with ProcessPoolExecutor(processes, initializer=begin, initargs=(room,)) as pool:
        answers = []
        for found in pool.map(analyse, cases):
            answers.append(found)
            print(*(f"{name}: {answer}" for name, answer, _ in found), sep="\n", file=sys.stderr, flush=True)
    return answers


def show(rows: Sequence[Row]) -> None:
    """The table: what is wrong comes last, with its sum."""
    words = {True: "right", False: "WRONG", None: "unstated"}
    for row in sorted(rows, key=lambda row: (row.right is False, row.right is None)):
        print(f"{words[row.right]:8} {row.name:55} {row.seconds:5.1f} s  wanted {row.wanted}  got {row.got}")
    wrong = sum(row.right is False for row in rows)
    unstated = sum(row.right is None for row in rows)
    print(f"{len(rows)} cases, {wrong} wrong" + (f", {unstated} without a stated answer" if unstated else ""))


def main() -> int:
    """Run what was asked for; 1 where an answer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name has this word")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--both-ways", action="store_true", help="by the whole service, too, and compare")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="field-") as folder:
        room = room_of(os.environ.get("MED3D_TEST_DATA"), os.environ.get("MED3D_FIELD_CASES"), Path(folder))
        for name, there in (("MED3D_TEST_DATA", room.data), ("MED3D_FIELD_CASES", room.scripts)):
            if there is None:
                print(f"{name} names no folder: its cases are left out")
        cases = all_cases(room)
        rows = run(chosen_cases(cases, asked.only), room, asked.processes, both_ways=asked.both_ways)
        tables = [*age_rows(), *word_rows(), *protocol_rows(), *stack_rows()]
        if room.scripts is not None:
            tables += header_rows(room.scripts)
            files = ("make_dicom_cases.py", "make_nifti_cases.py")
            tables += [Row(name, "nothing stated", "not run", None) for name in without_answer(room, cases, *files)]
        rows += [row for row in tables if asked.only in row.name]
    show(rows)
    return int(any(row.right is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
