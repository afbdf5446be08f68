"""Pixels that may show text: none of them lies in a working copy, whichever way the study came."""

import io
import struct
import tarfile

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from med3d_pipeline.study.study import read_study
from med3d_service.processes.api import compose
from med3d_service.runs.bundles import register_bundles
from med3d_service.studies.uploads.form import StudyForm
from med3d_service.studies.uploads.limits import Limits, Meter
from med3d_service.studies.working_copy.courier import sandbox_of
from med3d_service.studies.working_copy.deidentify import Deidentifier, NotAnImageError
from med3d_service.studies.working_copy.names import working_key
from med3d_service.studies.working_copy.pixels.comments import without_texts
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms
from rig.dicom.series import head_like, ras_affine, slice_datasets
from rig.dicom.studies_on_disk import refusal_of_choice
from rig.dicom.uploads import CONTENT_TYPE, files_form, named, zip_of
from rig.service.arriving import saved
from rig.service.couriers import courier_of
from rig.service.parts import migrated
from rig.service.work import BUNDLE

BURNT = 4095
"""The value of the letters that stand in the pixels."""


def one_slice(**header):
    (dataset, *_) = slice_datasets(head_like((8, 8, 4)), ras_affine(), **header)
    return dataset


def with_letters(dataset):
    pixels = np.frombuffer(dataset.PixelData, dtype=np.uint16).copy()
    pixels[:5] = BURNT
    dataset.PixelData = pixels.tobytes()
    return dataset


def copy_of(dataset):
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    data, _ = Deidentifier(Pseudonyms(b"u" * 32)).copy(buffer.getvalue())
    return data, pydicom.dcmread(io.BytesIO(data))


@pytest.mark.parametrize(
    "header",
    [
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1", "Modality": "US"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"},
        {"SOPClassUID": "1.3.46.670589.11.0.0.12.2"},
        {"SOPClassUID": "", "Modality": "OT"},
        {"BurnedInAnnotation": "YES"},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    ],
    ids=["capture", "captures", "ultrasound", "photograph", "presentation", "pdf", "private", "no class", "burnt in",
         "screen save"],
)  # fmt: skip
def test_an_image_that_may_show_text_is_copied_without_its_pixels(header):
    data, copied = copy_of(with_letters(one_slice(**header)))
    assert "PixelData" not in copied
    assert struct.pack("<HH", BURNT, BURNT) not in data
    assert copied.Rows == 8, "the header says what it is"


@pytest.mark.parametrize(
    "header", [{}, {"BurnedInAnnotation": "NO"}, {"SOPClassUID": ""}], ids=["MR", "NO", "no class"]
)
def test_an_mr_image_keeps_its_pixels(header):
    dataset = with_letters(one_slice(**header))
    assert copy_of(dataset)[1].PixelData == dataset.PixelData


def test_a_presentation_state_is_no_image():
    dataset = one_slice(SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1", Modality="PR")
    for keyword in ("Rows", "Columns", "PixelData"):
        del dataset[keyword]
    with pytest.raises(NotAnImageError):
        copy_of(dataset)


# --- overlays ---


def with_overlay(bit=12, **header):
    """Of 12 stored bits, whose overlay says ABC in bit 12 (or another)."""
    dataset = one_slice(**header)
    pixels = np.frombuffer(dataset.PixelData, dtype=np.uint16) & 0x0FFF
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60000011, "US", 8)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", bit)
    marked = pixels.copy()
    marked[::3] |= 1 << bit
    dataset.PixelData = marked.tobytes()
    return dataset, pixels


def test_an_overlay_in_the_unused_bits_is_cleared_and_the_image_is_not():
    dataset, pixels = with_overlay()
    _, copied = copy_of(dataset)
    np.testing.assert_array_equal(np.frombuffer(copied.PixelData, dtype=np.uint16), pixels)
    assert not [element for element in copied if element.tag.group == 0x6000]


def test_an_overlay_in_the_unused_bits_is_cleared_in_every_byte_order():
    dataset, pixels = with_overlay()
    data = np.frombuffer(dataset.PixelData, dtype=np.uint16)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = data.astype(">u2").tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=False, enforce_file_format=True)
    copied = pydicom.dcmread(io.BytesIO(Deidentifier(Pseudonyms(b"u" * 32)).copy(buffer.getvalue())[0]))
    np.testing.assert_array_equal(np.frombuffer(copied.PixelData, dtype=">u2"), pixels)


def test_an_overlay_in_implicit_vr_is_cleared_too():
    dataset, pixels = with_overlay()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    np.testing.assert_array_equal(np.frombuffer(copy_of(dataset)[1].PixelData, dtype=np.uint16), pixels)


def test_an_overlay_plane_of_its_own_is_left_out():
    dataset = one_slice()
    dataset.add_new(0x60000102, "US", 0)
    dataset.add_new(0x60003000, "OW", b"NAME^OF^PATIENT!")
    data, copied = copy_of(dataset)
    assert copied.PixelData == dataset.PixelData
    assert b"NAME^OF^PATIENT!" not in data


@pytest.mark.parametrize("bit", [16, 500])
def test_where_it_cannot_be_told_which_bits_are_meant_the_pixels_stay_behind(bit):
    dataset, _ = with_overlay()
    dataset[0x60000102].value = bit
    assert "PixelData" not in copy_of(dataset)[1]


def test_compressed_pixels_with_an_overlay_in_them_stay_behind():
    dataset, _ = with_overlay()
    dataset.BitsStored, dataset.HighBit = 16, 15
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 11
    assert "PixelData" not in copy_of(dataset)[1]


# --- what the worker says of it ---


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned_in_text"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary_capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1", "Modality": "US"}, "not_mr"),
    ],
)
def test_the_refusal_is_the_same_with_the_pixels_and_without_them(tmp_path, header, code):
    for number, dataset in enumerate(slice_datasets(head_like((8, 8, 6)), ras_affine(), **header)):
        for folder, data in (("whole", dataset), ("copy", copy_of(dataset)[1])):
            (tmp_path / folder).mkdir(exist_ok=True)
            data.save_as(tmp_path / folder / f"{number}.dcm", enforce_file_format=True)
    codes = [refusal_of_choice(read_study([tmp_path / folder])).code for folder in ("whole", "copy")]
    assert codes == [code, code]


# --- a form upload ---


def test_a_study_that_is_uploaded_by_form_goes_the_same_way(tmp_path):
    service = compose(migrated(tmp_path))
    with service.database.write() as session:
        register_bundles(session, [BUNDLE])
    images = slice_datasets(head_like((8, 8, 4)), ras_affine(), StudyInstanceUID="1.2.3")
    shot = with_letters(one_slice(series="shot", SOPClassUID="1.2.840.10008.5.1.4.1.1.7", StudyInstanceUID="1.2.3"))
    body = files_form(("study.zip", zip_of(named([saved(image) for image in [*images, shot]]))))
    form = StudyForm(
        CONTENT_TYPE, service.settings.spool_dir, service.keys.originals, "default", Meter(Limits.of(service.settings))
    )
    form.write(body)
    study_id = service.recorder.record("default", *form.finish()).study_id
    form.discard()
    courier = courier_of(service, sandbox_of(service.settings))
    try:
        assert courier.copy_next()
    finally:
        courier.sandbox.close()
    working = service.store.get(working_key(study_id, claim=1))
    service.close()
    with tarfile.open(fileobj=io.BytesIO(working)) as tar:
        copies = [pydicom.dcmread(tar.extractfile(member)) for member in tar]
    assert sorted("PixelData" in copy for copy in copies) == [False, True, True, True, True]
    assert struct.pack("<5H", *[BURNT] * 5) not in working


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_what_lies_behind_the_last_pixel_stays_behind(syntax):
    dataset = one_slice()
    expected = dataset.PixelData
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = expected + NAME
    data, copy = copy_of(dataset)
    assert NAME not in data
    assert copy.PixelData == expected + bytes(len(NAME))


@pytest.mark.parametrize(
    ("element", "said", "left"), [("NumberOfFrames", b"no", 128), ("Rows", b"ABCD", None), ("BitsAllocated", b"", None)]
)
def test_what_lies_behind_the_last_pixel_stays_behind_where_the_header_tells_no_size(element, said, left):
    dataset = one_slice()
    dataset.PixelData += NAME
    tag = pydicom.datadict.tag_for_keyword(element)
    dataset[tag] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), "US", len(said), said, 0, False, True)
    if element == "NumberOfFrames":
        dataset[tag] = dataset.get_item(tag)._replace(VR="IS")
    with pydicom.config.disable_value_validation():
        data, copy = copy_of(dataset)
    assert NAME not in data
    assert len(copy.get("PixelData", b"").rstrip(b"\0")) <= (left or 0)


# --- texts inside compressed frames ---

NAME = b"MUSTERMANN^ERIKA"


def segment(marker, content):
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def box(kind, content):
    return struct.pack(">L4s", len(content) + 8, kind) + content


def cleaned(*fragments):
    return cleaned_element(encapsulate([*fragments]))


def cleaned_element(items):
    element = struct.pack("<HH2sxxL", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF) + items
    left = without_texts(element, 12)
    assert len(left) == len(element)
    return left


def test_comments_of_a_jpeg_2000_image_stay_behind_and_its_pixels_do_not():
    (dataset, *_) = slice_datasets(head_like((64, 48, 4)), ras_affine())
    before = dataset.pixel_array
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    for before_marker in (b"\xff\x52", b"\xff\x93"):  # in the header of the image, and of its first tile
        at = stream.index(before_marker)
        stream = stream[:at] + segment(0x64, b"\0\1" + NAME) + stream[at:]
    tile = stream.index(b"\xff\x90\x00\x0a") + 6
    grown = struct.unpack_from(">L", stream, tile)[0] + len(NAME) + 6
    stream = stream[:tile] + struct.pack(">L", grown) + stream[tile + 4 :]
    dataset.PixelData = encapsulate([stream])
    data, copy = copy_of(dataset)
    assert NAME not in data
    np.testing.assert_array_equal(copy.pixel_array, before)


@pytest.mark.parametrize(
    "texts",
    [
        segment(0xFE, NAME),
        segment(0xE1, b"Exif\0\0" + NAME),
        segment(0xE0, b"JFIF\0" + NAME),
        b"\xff" + segment(0xEE, NAME),
    ],
)
def test_comments_and_applications_of_a_jpeg_image_stay_behind(texts):
    header = b"\xff\xd8" + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")
    rest = segment(0xF7, bytes(9)) + segment(0xDA, bytes(8)) + b"\xff\xd9"
    left = cleaned(header + texts + rest)
    assert NAME not in left
    assert header in left
    assert rest in left


def test_boxes_of_a_jp2_file_stay_behind_and_what_is_no_code_stream_stays_as_it_is():
    signature = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
    code_stream = b"\xff\x4f" + segment(0x51, bytes(47)) + segment(0x64, b"\0\1" + NAME) + b"\xff\x93"
    assert NAME not in cleaned(signature + box(b"xml ", NAME) + box(b"uuid", NAME) + box(b"jp2c", code_stream))
    for odd in (b"\xff\xd8", b"\xff\xd8\xff\xfe", b"\xff\x4f\xff\x64\xff\xff", signature[:-2], bytes(range(256))):
        cleaned(odd, odd)


SCAN = b"\xff\xd8" + segment(0xF7, bytes(9)) + segment(0xDA, bytes(8)) + b"\x12\xff\x00\x34\xff\xd0\xff\x7f"
TILE = b"\xff\x4f" + segment(0x51, bytes(47)) + segment(0x90, bytes(8)) + b"\xff\x93" + b"\x12\xff\x4f"


@pytest.mark.parametrize(
    ("fragments", "kept"),
    [
        ([SCAN + b"\xff\xd9" + NAME], SCAN + b"\xff\xd9"),
        ([SCAN + segment(0xFE, NAME) + segment(0xDA, bytes(8)) + b"\x56\xff\xd9"], b"\x56\xff\xd9"),
        ([SCAN[:2], segment(0xE1, NAME) + SCAN[2:] + b"\xff\xd9"], SCAN[2:] + b"\xff\xd9"),
        ([SCAN[:2] + segment(0xE1, bytes(9) + NAME)[:6], bytes(7) + NAME + SCAN[2:] + b"\xff\xd9"], SCAN[2:]),
        ([SCAN[:-3], SCAN[-3:] + b"\xff\xd9" + NAME], SCAN[-3:] + b"\xff\xd9"),
        ([TILE + b"\xff\xd9" + NAME], TILE + b"\xff\xd9"),
        ([TILE[:2], TILE[2:-8], TILE[-8:] + b"\xff\xd9", NAME], TILE[-8:] + b"\xff\xd9"),
    ],
)
def test_nothing_stays_between_scans_behind_the_end_or_in_a_second_fragment(fragments, kept):
    left = cleaned_element(b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(one)) + one for one in (b"", *fragments)))
    assert NAME not in left
    assert kept in left


def test_a_text_in_place_of_the_offsets_stays_behind():
    for table, is_kept in ((struct.pack("<2L", 0, 20), True), (NAME, False), (NAME[:7], False), (b"", True)):
        items = struct.pack("<HHL", 0xFFFE, 0xE000, len(table)) + table
        left = cleaned_element(items + struct.pack("<HHL", 0xFFFE, 0xE000, 32) + bytes(32))
        assert (table in left) is is_kept


@pytest.mark.parametrize("kind", [b"lbl ", b"asoc", b"free", b"Exif"])
def test_boxes_that_are_no_numbers_stay_behind(kind):
    signature = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
    assert NAME not in cleaned(signature + box(kind, NAME) + box(b"jp2c", TILE + b"\xff\xd9"))


def test_a_study_in_jpeg_ls_keeps_its_pixels():
    dataset = one_slice()
    before = dataset.pixel_array
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    _, copy = copy_of(dataset)
    np.testing.assert_array_equal(copy.pixel_array, before)
