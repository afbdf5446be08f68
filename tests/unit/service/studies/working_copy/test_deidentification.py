"""What workers see of a study: the allow-list, and not one word of what identifies a patient."""

import gzip
import io
import os
import tarfile

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from med3d_contract.ages import stored_age
from med3d_pipeline.reading.dicom_headers import read_planes
from med3d_service.storage.sealed import SealedWriter, file_key
from med3d_service.studies.original_names import original_name
from med3d_service.studies.working_copy.attributes import RULES, Rule
from med3d_service.studies.working_copy.child import copy_study
from med3d_service.studies.working_copy.deidentify import Deidentifier, NotAnImageError, UnreadableError
from med3d_service.studies.working_copy.messages import Container, Finding, Job, Member
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms
from med3d_service.studies.working_copy.vocabulary import DESCRIPTIONS, known_agent, known_description, known_sequence
from rig.dicom.series import enhanced_dataset, head_like, ras_affine, slice_datasets
from rig.dicom.uploads import dicom_files, gzipped, nifti_file

KEY = b"u" * 32
CANARY = "CANARYBIRD"
DIGITS = "8675309"
TEXT_VRS = {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT", "DS", "IS"}


def deidentified(dataset):
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    data, identity = Deidentifier(Pseudonyms(KEY)).copy(buffer.getvalue())
    return pydicom.dcmread(io.BytesIO(data)), data, identity


def one_slice(**header):
    return slice_datasets(head_like((8, 8, 4)), ras_affine(), **header)[1]


def canary_value(tag):
    vr = dictionary_VR(tag)
    if vr == "UI":
        return f"1.2.{DIGITS}.4"
    return CANARY


def with_canaries(dataset, keep=("SOPClassUID", "SpecificCharacterSet")):
    """Put a canary into every text element that DICOM knows, at the top and in an item of every sequence."""
    with pydicom.config.disable_value_validation():
        for tag in DicomDictionary:
            vr = dictionary_VR(tag)
            if (
                Tag(tag).group in {0x0000, 0x0002, 0x7FE0, 0xFFFA, 0xFFFC, 0xFFFE}
                or pydicom.datadict.keyword_for_tag(tag) in keep
            ):
                continue
            if vr in TEXT_VRS:
                element = DataElement(
                    tag, vr if vr not in {"DS", "IS", "AS", "DA", "TM", "DT"} else "LO", canary_value(tag)
                )
                dataset[tag] = element
            elif vr == "SQ" and Tag(tag) not in dataset:
                item = Dataset()
                item.add_new(0x00081030, "LO", CANARY)
                item.add_new(0x00080104, "LO", CANARY)
                dataset.add_new(tag, "SQ", Sequence([item]))
        block = dataset.private_block(0x0029, "MAKER " + CANARY, create=True)
        block.add_new(0x10, "LO", CANARY)
        block.add_new(0x11, "OB", CANARY.encode())
        dataset.add_new(0x00430010, "LO", CANARY)
        dataset.add_new(0xFFFCFFFC, "OB", CANARY.encode())
    return dataset


def traces(data):
    """Canaries in any spelling that could be read back."""
    folded = data.upper()
    return [mark for mark in (CANARY, DIGITS, CANARY[:6]) if mark.encode() in folded]


def test_no_canary_survives_in_any_text_element_private_element_or_padding():
    with pydicom.config.disable_value_validation():
        copied, data, _ = deidentified(with_canaries(one_slice()))
    assert traces(data) == []
    assert copied.Rows == 8


def test_no_canary_survives_inside_functional_groups():
    dataset = enhanced_dataset([head_like((8, 8, 4))], ras_affine())
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.FrameContentSequence[0].FrameComments = CANARY
        frame.FrameContentSequence[0].StackID = CANARY
    dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].update(with_canaries(Dataset()))
    _, data, _ = deidentified(dataset)
    assert traces(data) == []


def test_the_identity_is_found_for_the_encrypted_table():
    _, _, identity = deidentified(
        one_slice(
            PatientID="P1", PatientName="Doe^Jane", PatientBirthDate="19700101", StudyDate="20200101", PatientSex="F"
        )
    )
    assert (identity.patient_id, identity.patient_name, identity.birth_date) == ("P1", "Doe^Jane", "19700101")
    assert (identity.study_date, identity.sex) == ("20200101", "F")


def test_geometry_sequence_parameters_and_pixels_come_through_unchanged():
    original = one_slice(PatientSex="F", RescaleSlope="1.5", RescaleIntercept="-3")
    copied, _, _ = deidentified(original)
    for keyword in [
        "Rows",
        "Columns",
        "PixelSpacing",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "RepetitionTime",
        "EchoTime",
        "InversionTime",
        "FlipAngle",
        "MagneticFieldStrength",
        "ScanningSequence",
        "SequenceVariant",
        "MRAcquisitionType",
        "ImageType",
        "SeriesNumber",
        "RescaleSlope",
        "RescaleIntercept",
        "PatientSex",
        "SOPClassUID",
        "Modality",
        "BitsStored",
    ]:
        assert copied[keyword].value == original[keyword].value, keyword
    assert copied.PixelData == original.PixelData
    np.testing.assert_array_equal(copied.pixel_array, original.pixel_array)


def test_enhanced_images_keep_their_functional_groups():
    original = enhanced_dataset([head_like((8, 8, 4))], ras_affine())
    copied, _, _ = deidentified(original)
    for ours, theirs in zip(
        copied.PerFrameFunctionalGroupsSequence, original.PerFrameFunctionalGroupsSequence, strict=True
    ):
        assert (
            ours.PlanePositionSequence[0].ImagePositionPatient == theirs.PlanePositionSequence[0].ImagePositionPatient
        )
        assert ours.FrameContentSequence[0].DimensionIndexValues == theirs.FrameContentSequence[0].DimensionIndexValues
    shared, theirs = (found.SharedFunctionalGroupsSequence[0] for found in (copied, original))
    assert shared.PixelMeasuresSequence[0].PixelSpacing == theirs.PixelMeasuresSequence[0].PixelSpacing
    assert shared.MRModifierSequence[0].InversionTimes == theirs.MRModifierSequence[0].InversionTimes
    assert copied.PixelData == original.PixelData


@pytest.mark.parametrize(
    "syntax",
    [
        pydicom.uid.ImplicitVRLittleEndian,
        pydicom.uid.ExplicitVRLittleEndian,
        pydicom.uid.ExplicitVRBigEndian,
        pydicom.uid.DeflatedExplicitVRLittleEndian,
    ],
    ids=["implicit", "explicit", "big endian", "deflated"],
)
def test_every_native_transfer_syntax_is_read_and_no_text_gets_through(syntax):
    original = one_slice(PatientName=CANARY, StudyDescription=CANARY, TriggerTime="12.5", SpacingBetweenSlices="1")
    original.add_new("PixelPaddingValue", "US", 63536)
    original.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    little = syntax != pydicom.uid.ExplicitVRBigEndian
    pydicom.dcmwrite(
        buffer, original, implicit_vr=syntax.is_implicit_VR, little_endian=little, enforce_file_format=True
    )
    data, _ = Deidentifier(Pseudonyms(KEY)).copy(buffer.getvalue())
    copied = pydicom.dcmread(io.BytesIO(data))
    assert copied.PixelSpacing == original.PixelSpacing
    assert (copied.Rows, copied.InversionTime) == (8, 850)
    assert (copied.PixelPaddingValue, copied.TriggerTime, copied.SpacingBetweenSlices) == (63536, 12.5, 1)
    assert copied.PixelData == original.PixelData
    assert traces(data) == []


BINARY = sorted(
    tag
    for tag, rule in RULES.items()
    if rule is Rule.NUMBER and dictionary_VR(tag) in {"US", "UL", "FD", "AT", "US or SS"}
)


@pytest.mark.parametrize("text", [b"MUSTERMANN^ERIKA", b"4711081519640229", b"Erika  Mustermann       "])
def test_no_text_stands_where_binary_numbers_are_due(text):
    dataset = one_slice()
    item = Dataset()
    for tag in BINARY:
        vr = dictionary_VR(tag).split()[0]
        for place in (dataset, item):
            place[Tag(tag)] = RawDataElement(Tag(tag), vr, len(text), text, 0, False, True)
    dataset.SharedFunctionalGroupsSequence = [Dataset()]
    dataset.SharedFunctionalGroupsSequence[0].MREchoSequence = [item]
    _, data, _ = deidentified(dataset)
    assert len(BINARY) > 20
    assert text[:8] not in data


def test_several_binary_numbers_stay():
    said = {
        "AcquisitionMatrix": [0, 256, 224, 0],
        "DimensionIndexValues": [1, 300, 2],
        "InversionTimes": [500.25, 2500.0],
        "DiffusionGradientOrientation": [1e-17, -0.70710678, 0.0],
        "DiffusionBValue": 1000.0,
    }
    dataset = one_slice(**said)
    copy, _, _ = deidentified(dataset)
    assert {name: copy[name].value for name in said} == said


def test_negative_padding_stays_negative_and_no_text_hides_in_it():
    original = one_slice()
    original.PixelRepresentation = 1
    original.add_new("PixelPaddingValue", "SS", -2000)
    copied, _, _ = deidentified(original)
    assert copied.PixelPaddingValue == -2000
    original["PixelPaddingValue"] = pydicom.dataelem.RawDataElement(
        Tag("PixelPaddingValue"), "US", 10, CANARY.encode(), 0, is_implicit_VR=False, is_little_endian=True
    )
    _, data, _ = deidentified(original)
    assert traces(data) == []


def test_compressed_pixel_data_is_passed_on_byte_for_byte():
    original = one_slice()
    original.compress(pydicom.uid.RLELossless)
    copied, _, _ = deidentified(original)
    assert copied.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
    assert copied.PixelData == original.PixelData


@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_pixel_data_stays_truncated_for_the_reader_to_see(compressed):
    original = one_slice()
    if compressed:
        original.compress(pydicom.uid.RLELossless)
    buffer = io.BytesIO()
    original.save_as(buffer, enforce_file_format=True)
    cut = buffer.getvalue()[:-40]
    data, _ = Deidentifier(Pseudonyms(KEY)).copy(cut)
    assert cut.endswith(data[-20:])
    assert len(data) < len(buffer.getvalue())


def test_uids_become_stand_ins_that_the_same_site_repeats_and_another_does_not():
    original = one_slice()
    first, _, _ = deidentified(original)
    second, _, _ = deidentified(original)
    assert first.SOPInstanceUID == second.SOPInstanceUID
    assert first.SOPInstanceUID.startswith("2.25.")
    assert len(first.SOPInstanceUID) <= 64
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert Pseudonyms(b"x" * 32).uid("1.2.3") != Pseudonyms(KEY).uid("1.2.3")


def test_unknown_codes_stay_distinct_but_unreadable():
    copied, _, _ = deidentified(one_slice(ImageType=["ORIGINAL", "PRIMARY", "M", "DOE_A", "DOE_B", "DOE_A"]))
    kept = list(copied.ImageType)
    assert kept[:3] == ["ORIGINAL", "PRIMARY", "M"]
    assert kept[3] == kept[5] != kept[4]
    assert "DOE" not in "".join(kept)


def test_descriptions_are_cut_down_to_words_of_the_trade():
    copied, _, _ = deidentified(one_slice(SeriesDescription="T1_MPRAGE sag Müller post Gd", ProtocolName="Dr Smith t2"))
    assert copied.SeriesDescription == "contrast T1 MPRAGE sag"
    assert copied.ProtocolName == "t2"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_text_gets_past_the_vocabulary(text):
    assert all(word.casefold() in DESCRIPTIONS for word in known_description(text).split())


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("*tfl3d1_16ns", "*tfl3d"),
        ("tfl3d1_ns", "tfl3d"),
        ("*fl2d1", "*fl2d"),
        ("fm2d2r", "fm2d"),
        ("*fl3d1r_ts", "*fl3d1r"),
        ("gre_tof_smith", "gre_tof"),
        ("Smith", ""),
        ("seldon", ""),
    ],
)
def test_sequence_names_keep_their_family(name, kept):
    assert known_sequence(name) == kept


@pytest.mark.parametrize(
    ("text", "kept"), [("", ""), ("none", ""), ("Gadovist 7.5 ml", "GADOLINIUM"), ("given by Dr X", "AGENT")]
)
def test_a_contrast_agent_is_told_and_no_more(text, kept):
    assert known_agent(text) == kept


@pytest.mark.parametrize(
    ("class_uid", "error"),
    [("1.2.840.10008.5.1.4.1.1.88.11", NotAnImageError), ("1.2.840.10008.5.1.4.1.1.4", UnreadableError)],
    ids=["a report", "an MR image that is cut short"],
)
def test_what_holds_no_image_is_told_as_med3d_analyse_does(class_uid, error):
    file = one_slice()
    file.SOPClassUID = class_uid
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(file, keyword)
    with pytest.raises(error):
        deidentified(file)


def nameless(in_file_meta, in_data_set=None):
    """Three slices whose SOP class and instance UIDs were taken out, of group 0002 as well or not."""
    files = []
    for data in dicom_files(3):
        dataset = pydicom.dcmread(io.BytesIO(data))
        del dataset.SOPInstanceUID
        if in_data_set is None:
            del dataset.SOPClassUID
        if not in_file_meta:
            del dataset.file_meta.MediaStorageSOPInstanceUID
            del dataset.file_meta.MediaStorageSOPClassUID
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=False)
        files.append(buffer.getvalue())
    return files


@pytest.mark.parametrize("in_file_meta", [True, False])
@pytest.mark.parametrize("in_data_set", [None, "the class"])
def test_images_without_a_uid_of_their_own_are_read(tmp_path, in_file_meta, in_data_set):
    files = nameless(in_file_meta, in_data_set)
    report, members = copy(tmp_path, files)
    assert (report.finding, report.copied, report.skipped) == (Finding.COPIED, 3, 0)
    copies = [pydicom.dcmread(io.BytesIO(data)) for data in members.values()]
    assert len({each.file_meta.MediaStorageSOPInstanceUID for each in copies}) == 3
    originals = [pydicom.dcmread(io.BytesIO(data)) for data in files]
    assert [each.pixel_array.tobytes() for each in copies] == [each.pixel_array.tobytes() for each in originals]
    path = tmp_path / "one.dcm"
    path.write_bytes(members["00001.dcm"])
    assert len(read_planes(path)) == 1


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused_and_never_break_the_reader(data):
    damaged = bytearray(FILE)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(132, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        Deidentifier(Pseudonyms(KEY)).copy(bytes(damaged[: data.draw(st.integers(140, len(damaged)))]))
    except (NotAnImageError, UnreadableError):
        return


FILE = dicom_files(1)[0]


# --- a whole study in the child ---


def copy(tmp_path, files, kind="dicom"):
    """Run a job of files of one kind as the child does; its report and the tar's members."""
    return copy_of(tmp_path, [(kind, "", data) for data in files])


def copy_of(tmp_path, files):
    """Run a job of (kind, kept name, bytes) as the child does; its report and the tar's members."""
    writer = SealedWriter(tmp_path / "container", KEY, original_name("1", "here"))
    members = []
    for kind, name, data in files:
        members.append(Member(kind=kind, name=name, offset_bytes=writer.size_bytes, size_bytes=len(data)))
        writer.write(data)
    writer.close()
    target = tmp_path / "copy.tar"
    job = Job(
        containers=(
            Container(
                path=str(writer.path),
                upload_id="1",
                site="here",
                sha256=writer.sha256,
                key=file_key(writer.path, KEY).hex(),
            ),
        ),
        uid_key=KEY.hex(),
        members=members,
        target=str(target),
    )
    report = copy_study(job)
    if report.finding is not Finding.COPIED:
        assert target.read_bytes() == b"", "what the courier removes"
        return report, {}
    with tarfile.open(target) as tar:
        return report, {member.name: tar.extractfile(member).read() for member in tar}


def test_a_study_becomes_a_tar_of_numbered_files(tmp_path):
    report, members = copy(tmp_path, dicom_files(3, PatientID="P1"))
    assert list(members) == ["00001.dcm", "00002.dcm", "00003.dcm"]
    assert (report.finding, report.copied, report.skipped, report.patient_id) == (Finding.COPIED, 3, 0, "P1")
    assert len(report.uids) == 3 + 2, "three instances, a series, a study"


def test_unreadable_files_among_readable_ones_are_counted(tmp_path):
    report, members = copy(tmp_path, [*dicom_files(2), bytes(128) + b"DICM" + os.urandom(300)])
    assert (report.finding, report.copied, report.skipped, len(members)) == (Finding.COPIED, 2, 1, 2)


def test_a_study_of_two_patients_is_no_study(tmp_path):
    report, members = copy(tmp_path, dicom_files(1, PatientID="A") + dicom_files(1, series="b", PatientID="B"))
    assert (report.finding, members) == (Finding.SEVERAL_PATIENTS, {})


@pytest.mark.parametrize(
    ("header", "finding"),
    [
        ({"PatientBirthDate": "19900101"}, Finding.SEVERAL_PATIENTS),
        ({"PatientSex": "M"}, Finding.SEVERAL_PATIENTS),
        ({}, Finding.COPIED),
        ({"PatientSex": "O"}, Finding.COPIED),
    ],
)
def test_two_studies_without_patient_ids_may_be_of_two_patients(tmp_path, header, finding):
    first = dicom_files(1, PatientBirthDate="19500101", PatientSex="F")
    second = dicom_files(
        1, series="b", StudyInstanceUID="1.2.3", **({"PatientBirthDate": "19500101", "PatientSex": "F"} | header)
    )
    assert copy(tmp_path, first + second)[0].finding is finding


@pytest.mark.parametrize(
    ("series", "finding"), [("series", Finding.SEVERAL_PATIENTS), ("b", Finding.COPIED)], ids=["one series", "two"]
)
def test_slices_of_one_series_with_another_sex_are_of_two_patients_though_their_id_is_one(tmp_path, series, finding):
    first = dicom_files(1, PatientSex="F")
    second = dicom_files(1, series=series, SOPInstanceUID="1.2.9", PatientSex="M")
    assert copy(tmp_path, first + second)[0].finding is finding


PLACEHOLDER = {"PatientBirthDate": "19000101", "StudyDate": "20100723"}
FORTY_FOUR = {"PatientBirthDate": "19660102", "StudyDate": "20100723", "PatientAge": "044Y"}
OF_2005 = {"PatientBirthDate": "19660102", "StudyDate": "20050601", "StudyInstanceUID": "1.2.5"}


@pytest.mark.parametrize(
    ("first", "second", "ages", "agreed"),
    [
        (OF_2005, FORTY_FOUR, [39.411, 44.553], "age_sources_disagree"),
        (FORTY_FOUR | {"PatientBirthDate": "19310102", "PatientAge": None}, FORTY_FOUR, [79.554, 44.553],
         "age_sources_disagree"),
        (PLACEHOLDER, FORTY_FOUR, [None, 44.553], 44.553),
        ({"PatientAge": "044Y"}, FORTY_FOUR, [44.5, 44.553], 44.553),
        ({}, {}, [None, None], None),
        ({"PatientBirthDate": "19660102", "AcquisitionDateTime": "20130717103000"}, {}, [47.537, None], 47.537),
    ],
)  # fmt: skip
def test_every_series_keeps_its_own_age(tmp_path, first, second, ages, agreed):
    silent = dict.fromkeys(("PatientBirthDate", "StudyDate", "PatientAge"))
    files = dicom_files(2, **(silent | first)) + dicom_files(2, series="b", **(silent | second))
    report, members = copy(tmp_path, files)
    series = [str(pydicom.dcmread(io.BytesIO(members[f"0000{place}.dcm"])).SeriesInstanceUID) for place in (1, 3)]
    assert [report.series_ages[uid] and report.series_ages[uid]["years"] for uid in series] == ages
    overall = stored_age(report.age)
    assert (overall.age and overall.age.years) == (agreed if isinstance(agreed, float) else None)
    assert (overall.doubt and overall.doubt.code) == (agreed if isinstance(agreed, str) else None)
    assert not any(part in str(report.series_ages) for part in ("1966", "1931", "2010", "2005")), "numbers, no dates"


def test_a_sex_that_images_of_one_study_contradict_is_not_taken(tmp_path):
    files = dicom_files(1, PatientSex="F") + dicom_files(1, series="b", PatientSex="M")
    assert copy(tmp_path, files)[0].sex == ""


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_loses_its_texts_extensions_and_trailer_and_keeps_its_voxels(tmp_path, compressed, order):
    image = nifti_file(
        text=CANARY.encode() * 8, extension=CANARY.encode() + bytes(6), trailing=CANARY.encode(), order=order
    )
    report, members = copy(tmp_path, [gzipped(image) if compressed else image], kind="nifti")
    (name,) = members
    cleaned = gzip.decompress(members[name])
    assert (name, report.finding) == ("volume.nii.gz", Finding.COPIED)
    assert traces(cleaned) == []
    assert CANARY.encode() not in members[name]
    assert cleaned[40:56] == image[40:56]
    assert cleaned[352:] == bytes([1]) * 120


def test_several_volumes_keep_what_tells_them_apart_and_lie_beside_dicom(tmp_path):
    (dicom,), one, other = dicom_files(1), nifti_file(), nifti_file((3, 3, 3))
    files = [("dicom", "", dicom), ("nifti", "_sub-1.x_t1w", one), ("nifti", ".x", other)]
    report, members = copy_of(tmp_path, files)
    assert list(members) == ["00001.dcm", "00002_sub-1.x_t1w.nii.gz", "00003.x.nii.gz"]
    assert report.copied == 3
    alone = tmp_path / "alone"
    alone.mkdir()
    assert copy_of(alone, files[:1])[0].pixels != report.pixels, "another study, whoever its patient is"


def test_a_nifti_header_that_makes_no_sense_is_unreadable(tmp_path):
    broken = bytearray(nifti_file())
    broken[40:42] = b"\x63\x00"  # 99 dimensions
    assert copy(tmp_path, [bytes(broken)], kind="nifti")[0].finding is Finding.UNREADABLE_FILE


@pytest.mark.parametrize("compressed", [False, True])
def test_freesurfers_volume_loses_what_stands_behind_its_voxels(tmp_path, compressed):
    voxels = head_like((8, 9, 10)).astype("uint8")
    buffer = io.BytesIO()
    nib.MGHImage(voxels, ras_affine((1, 2, 3), (5, 6, 7))).to_stream(buffer)
    data = bytearray(buffer.getvalue() + CANARY.encode())
    data[100:110] = CANARY.encode()
    report, members = copy(tmp_path, [gzipped(bytes(data)) if compressed else bytes(data)], kind="nifti")
    assert (report.finding, list(members)) == (Finding.COPIED, ["volume.mgz"])
    copied = gzip.decompress(members["volume.mgz"])
    assert traces(copied) == []
    image = nib.MGHImage.from_bytes(copied)
    np.testing.assert_array_equal(np.asarray(image.dataobj), voxels)
    np.testing.assert_allclose(image.affine, ras_affine((1, 2, 3), (5, 6, 7)), atol=1e-5)
