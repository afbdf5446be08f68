"""The pipeline must find in a working copy what it finds in the original: same series, scores, reasons and voxels."""

from collections import defaultdict

import numpy as np
import pytest

from med3d_contract.sent_files.content import HEAD_BYTES, Content, sniff
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.study.series_selection import select_series
from med3d_pipeline.study.study import load_series, read_study
from med3d_service.studies.working_copy.deidentify import Deidentifier
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms

pytestmark = pytest.mark.realdata

STUDIES = [
    "siemens_trio_study",
    "siemens_enhanced_multiframe/5_anat-T1w_acq-tfl",
    "siemens_enhanced_multiframe",
    "siemens_2d_t1",
    "ge_fruit_not_a_head",
    "fragments/ge",
    "fragments/generic/anatomical",
    "fragments/generic/compressed_j2k",
    "fragments/generic/compressed_jpegls",
    "fragments/generic/compressed_rle",
    "fragments/hitachi",
    "fragments/hyperfine",
    "fragments/philips_enhanced",
    "fragments/siemens_multiframe",
    "fragments/failing/gantrytilting",
    "fragments/failing/notavolume",
    "fragments/failing/slicecount",
    "fragments/failing/sliceincrement",
    "fragments/failing/sliceorientation",
    "fragments/generic/rgb",
    "fragments/generic/compressed_jpeg",
    "fragments/anatomical/001_implicit",
]


def verdict(paths):
    """What the pipeline says of a study: the choice with candidates, or the refusal."""
    try:
        study = read_study(paths)
        selection = select_series(study)
    except InputRefused as refused:
        return refused.code, refused.reason, of_what_is_copied(refused.details), None
    loaded = load_series(study, selection.chosen)
    return selection.chosen, selection.candidates, selection.review_reasons, loaded


def of_what_is_copied(details):
    """The candidates, but for the pixels that stay behind of images that are not MR (working_copy.shown_text)."""
    candidates = [
        dict(one) | {"reasons": [reason for reason in one["reasons"] if "(no_pixel_data)" not in reason]}
        for one in details.get("candidates", [])
    ]
    return dict(details) | {"candidates": candidates}


def is_dicom(path):
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return sniff(file.read(HEAD_BYTES)) is Content.DICOM


@pytest.mark.parametrize("name", STUDIES)
def test_the_pipeline_says_the_same_of_the_copy_as_of_the_original(test_data, tmp_path, name):
    deidentifier = Deidentifier(Pseudonyms(b"k" * 32))
    patients = defaultdict(list)  # some folders hold several, whom the service never puts into one study
    for path in sorted((test_data / "dicom" / name).rglob("*")):
        if is_dicom(path):
            copy, identity = deidentifier.copy(path.read_bytes())
            patients[identity.patient_id, identity.study_uid].append((path, copy))
    assert patients
    for number, members in enumerate(patients.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        for index, (_, copy) in enumerate(members):
            (folder / f"{index:05d}.dcm").write_bytes(copy)
        original, copied = verdict([path for path, _ in members]), verdict([folder])
        assert copied[:3] == original[:3]
        if original[3] is not None:
            np.testing.assert_array_equal(copied[3].volume.voxels, original[3].volume.voxels)
            np.testing.assert_array_equal(copied[3].volume.affine, original[3].volume.affine)
