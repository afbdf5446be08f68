"""Compressed frames that declare another size than their header: no codec ever sees them."""

import resource
import struct

import pytest
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from med3d_confined.code_streams import MAX_TILES, FrameSize, UnreadableStreamError, declared_size
from med3d_pipeline.errors import InputRefused
from rig.dicom.series import head_like, ras_affine, save_all, slice_datasets
from rig.dicom.studies_on_disk import load_only

SMALL, HUGE = FrameSize(64, 48, 1), FrameSize(20_000, 20_000, 1)
PACKED_ROW = b"\x81\x00"  # 128 zeros


def jpeg_2000(size, tile=None):
    columns, rows = tile or (size.columns, size.rows)
    siz = struct.pack(">H8LH", 0, size.columns, size.rows, 0, 0, columns, rows, 0, 0, size.samples) + b"\x0f\x01\x01"
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(siz) + 2) + siz + b"\xff\x93" + bytes(12_000)


def jp2(stream):
    return (
        b"\x00\x00\x00\x0cjP  \r\n\x87\n"
        + struct.pack(">L4s", 14, b"ftyp")
        + bytes(6)
        + struct.pack(">L", 0)
        + b"jp2c"
        + stream
    )


def jpeg(size, marker=0xC3):
    frame = struct.pack(">BHHB", 16, size.rows, size.columns, size.samples) + b"\x01\x11\x00" * size.samples
    comment = b"\xff\xfe\x00\x06ab\xff\xc3"  # what looks like a frame header and is text
    header = b"\xff\xd8" + comment + b"\xff\xff" + bytes([marker]) + struct.pack(">H", len(frame) + 2) + frame
    return header + b"\xff\xda" + bytes(100)


def rle(*segments):
    starts, at = [], 64
    for segment in segments:
        starts.append(at)
        at += len(segment)
    return struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(starts))) + b"".join(segments)


@pytest.mark.parametrize("size", [SMALL, HUGE, FrameSize(64, 48, 3)])
@pytest.mark.parametrize(
    ("syntax", "stream"),
    [
        (JPEG2000Lossless, jpeg_2000),
        (JPEG2000Lossless, lambda size: jp2(jpeg_2000(size))),
        (HTJ2KLossless, jpeg_2000),
        (JPEGBaseline8Bit, lambda size: jpeg(size, 0xC0)),
        (JPEGLosslessSV1, jpeg),
        (JPEGLSLossless, lambda size: jpeg(size, 0xF7)),
    ],
    ids=["JPEG 2000", "JP2", "HTJ2K", "baseline", "lossless", "JPEG-LS"],
)
def test_the_declared_size_is_read_from_the_first_bytes(syntax, stream, size):
    assert declared_size(stream(size), syntax, SMALL) == size


@pytest.mark.parametrize(
    ("syntax", "stream"),
    [
        (JPEG2000Lossless, b""),
        (JPEG2000Lossless, b"\xff\x4f\xff\x51\x00\x29"),
        (JPEG2000Lossless, b"\xff\x4f\xff\x52" + bytes(60)),
        (JPEG2000Lossless, jpeg_2000(HUGE, tile=(100, 100))),
        (JPEG2000Lossless, jpeg_2000(SMALL, tile=(0, 1))),
        (JPEG2000Lossless, jp2(b"")[:-8]),
        (JPEGLosslessSV1, b""),
        (JPEGLosslessSV1, b"\xff\xd8\xff\xda"),
        (JPEGLosslessSV1, b"\xff\xd8\xff\xfe\xff"),
        (JPEGLosslessSV1, b"\xff\xd8" + bytes(50)),
        (JPEGLosslessSV1, jpeg(SMALL)[:-102] + jpeg(HUGE)[2:]),
        (JPEGLosslessSV1, jpeg(HUGE, 0xDE)[:-102] + jpeg(SMALL)[2:]),  # of an image in a hierarchy
        (RLELossless, b""),
        (RLELossless, rle(b"")[:64].replace(b"\x01", b"\x10", 1)),
        (RLELossless, rle(PACKED_ROW * 1_000_000)),
    ],
)
def test_what_is_no_code_stream_or_a_bomb_is_not_decoded(syntax, stream):
    with pytest.raises(UnreadableStreamError):
        declared_size(stream, syntax, SMALL)


def test_rle_of_a_large_image_that_unpacks_to_it_is_taken():
    large = FrameSize(12_800, 12_800, 1)
    assert declared_size(rle(PACKED_ROW * 1_280_000), RLELossless, large) == large
    assert declared_size(jpeg_2000(large, tile=(256, 256)), JPEG2000Lossless, SMALL) == large
    assert MAX_TILES >= 50 * 50


def test_a_frame_that_declares_400_million_pixels_costs_no_memory_and_says_so(tmp_path):
    datasets = slice_datasets(head_like((64, 48, 8)), ras_affine(), series="t1")
    for dataset in datasets:
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        at = dataset.PixelData.index(b"\xff\x4f\xff\x51") + 8
        data = bytearray(dataset.PixelData)
        data[at : at + 8] = data[at + 16 : at + 24] = struct.pack(">LL", 20_000, 20_000)
        dataset.PixelData = bytes(data)
    save_all(tmp_path, datasets)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputRefused, match="20000 x 20000 pixels by its own header, and") as refused:
        load_only(tmp_path)
    assert refused.value.code == "compressed_size_disagrees"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 100 * 1024
