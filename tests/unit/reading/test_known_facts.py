"""What hundreds of images say alike is worked out once, and nothing that tells two of them apart is overlooked."""

import copy

import pydicom
import pytest
from pydicom.datadict import keyword_for_tag

from med3d_pipeline.reading.dicom_facts import MOST_CHARACTERS, MOST_KNOWN, OF_ONE_IMAGE, KnownFacts, sequence_facts
from med3d_pipeline.reading.dicom_headers import read_planes, tolerant_reading

OTHERWISE = {"UI": "1.2.3.4", "IS": "77", "DS": "7.5", "DT": "20200101120000"}


@pytest.fixture
def image(test_data):
    """A function that reads an image anew, as a header pass leaves it: nothing converted yet."""
    path = test_data / "dicom/siemens_trio_study/t1_MPRAGEcr_noGRAPPA_19/00042.dcm"
    return lambda: pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*OF_ONE_IMAGE, *FACTS])


FACTS = ("Modality", "SeriesDescription", "EchoTime", "ScanOptions", "ImageType", "MagneticFieldStrength", "PatientID")


@pytest.mark.realdata
@pytest.mark.parametrize("tag", sorted(OF_ONE_IMAGE))
def test_what_is_one_image_s_own_is_no_fact_of_its_sequence(image, tag):
    one, other, known = image(), image(), KnownFacts()
    keyword = keyword_for_tag(tag)
    value = OTHERWISE[pydicom.datadict.dictionary_VR(tag)]
    setattr(other, keyword, [value, "2", "3"] if keyword == "ImagePositionPatient" else value)
    assert sequence_facts([one]) == sequence_facts([other])
    assert known.of([image()]) is known.of([image()])
    assert known.of([image()]) == known.of([other])


@pytest.mark.realdata
def test_images_that_differ_in_a_fact_have_facts_of_their_own(image):
    known = KnownFacts()
    first = known.of([image()])
    for keyword, value in (("EchoTime", "9.9"), ("ScanOptions", ["FS", "PFP"]), ("SeriesDescription", "MRA")):
        other = image()
        setattr(other, keyword, value)
        assert known.of([other]) == sequence_facts([copy.deepcopy(other)]) != first
    assert known.of([image()]) is first


@pytest.mark.realdata
def test_what_is_kept_has_a_bound(image):
    known = KnownFacts()
    for number in range(3 * MOST_KNOWN):
        one = image()
        one.EchoTime = str(1 + number / 8)
        assert known.of([one]) == sequence_facts([copy.deepcopy(one)])
    assert len(known) <= MOST_KNOWN
    long = image()
    with tolerant_reading():
        long.SeriesDescription = "T1 " * MOST_CHARACTERS
    assert known.of([long]) is not known.of([long])


@pytest.mark.realdata
@pytest.mark.parametrize("study", ["siemens_trio_study", "siemens_enhanced_multiframe", "fragments", "siemens_2d_t1"])
def test_planes_are_the_same_with_facts_known_from_the_files_before(test_data, study):
    known, read = KnownFacts(), 0
    with tolerant_reading():
        for path in sorted((test_data / "dicom" / study).rglob("*.dcm"))[::7]:
            try:
                alone = read_planes(path)
            except Exception:  # noqa: BLE001 - of spoilt fragments nothing is read either way
                continue
            assert read_planes(path, known) == alone
            read += 1
    assert read
