"""From the files of one stack to its voxels and the digest of its instances."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from med3d_confined.code_streams import FrameSize, declared_size
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.codecs_apart import CODECS, CompressedInstance
from med3d_pipeline.reading.dicom_elements import MALFORMED
from med3d_pipeline.reading.dicom_files import TooLargeError, data_set_start, read_dicom
from med3d_pipeline.reading.dicom_headers import tolerant_reading
from med3d_pipeline.reading.dicom_padding import stored_padding
from med3d_pipeline.reading.dicom_plane import Plane
from med3d_pipeline.reading.interleaving import interleaved, slices_alternate
from med3d_pipeline.reading.stack_geometry import StackGeometry
from med3d_pipeline.volume import Volume, Voxels, in_order

# All that decoders ask for; whatever else a file holds is not parsed a second time.
PIXEL_MODULE = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
)
MAX_VOXELS = 512**3


@dataclass(frozen=True, eq=False)
class _Pixels:
    """One frame as stored, (rows, columns), and which stored values are padding: from the lowest to the highest."""

    stored: np.ndarray
    padding: tuple[int, int] | None


def read_stack(planes: Sequence[Plane], geometry: StackGeometry) -> tuple[Volume, str]:
    """Decode the planes into a volume and digest their instances, reading every file once.

    Returns the volume and sha256 (hex) over the sorted sha256 digests of the instances, each taken over its data set
    without group 0002, so that file names, their order and the preamble do not matter. Where only some frames of an
    instance belong to the stack, their numbers count too. Padded pixels (PixelPaddingValue) hold the lowest value that
    any other pixel of the volume has: nothing was measured there.

    Raises InputRefused with too_large, no_pixel_data, truncated_pixel_data, undecodable_pixel_data,
    compressed_size_disagrees or several_acquisitions.
    """
    columns, rows, slices = geometry.shape
    if columns * rows * slices > MAX_VOXELS:
        raise InputRefused(
            "too_large",
            f"The volume has {columns} x {rows} x {slices} voxels, more than {MAX_VOXELS // 10**6} million. "
            "Send a head scan at its usual resolution.",
        )
    stacked = np.empty((slices, rows, columns), dtype=np.float32)
    by_file: dict[Path, list[tuple[int, Plane]]] = defaultdict(list)
    for place, index in enumerate(geometry.order):
        by_file[planes[index].path].append((place, planes[index]))
    digests = [
        _read_file(path, sorted(members, key=lambda item: item[1].frame), stacked) for path, members in by_file.items()
    ]
    digest = sha256("\n".join(sorted(digests)).encode()).hexdigest()
    _blacken_padding(stacked)
    step_mm = geometry.spacing_mm[2]
    if slices_alternate(planes, stacked, step_mm):
        raise interleaved(step_mm)
    return Volume(in_order(stacked.transpose(2, 1, 0)), geometry.affine), digest


def plane_pixels(plane: Plane) -> Voxels:
    """Decode one plane, (rows, columns) in output units; padded pixels are NaN.

    Raises InputRefused as read_stack does.
    """
    stacked = np.empty((1, plane.rows, plane.columns), dtype=np.float32)
    _read_file(plane.path, [(0, plane)], stacked)
    pixels: Voxels = stacked[0]
    return pixels


def _blacken_padding(stacked: Voxels) -> None:
    padded = np.isnan(stacked)
    if padded.any():
        stacked[padded] = np.min(stacked, where=~padded, initial=np.inf) if not padded.all() else 0


def _read_file(path: Path, members: Sequence[tuple[int, Plane]], stacked: Voxels) -> str:
    """Fill the places of one file's frames and return the instance's digest."""
    try:
        data = read_dicom(path)
    except TooLargeError:
        raise InputRefused(
            "too_large", "One image file is larger than 2 GiB. Send a head scan at its usual resolution."
        ) from None
    digest = sha256(memoryview(data)[data_set_start(data) :]).hexdigest()
    frames = [plane.frame for _, plane in members]
    if len(frames) < members[0][1].frames_in_file:
        digest += ":" + ",".join(str(frame) for frame in frames)
    with tolerant_reading():
        for (place, plane), pixels in zip(members, _decode(data, frames, path.parent), strict=True):
            if pixels.stored.shape != stacked.shape[1:]:
                raise undecodable()
            stacked[place] = _rescaled(pixels, plane)
    return digest


def _decode(data: bytes, frames: Sequence[int], folder: Path) -> Iterator[_Pixels]:
    try:
        dataset = dcmread(BytesIO(data), force=True, specific_tags=list(PIXEL_MODULE))
        if "PixelData" not in dataset or not dataset.PixelData:
            raise InputRefused(
                "no_pixel_data", "The files hold headers and no image (no pixel data). Send the series again, complete."
            )
        padding = stored_padding(dataset)
        syntax = _transfer_syntax(dataset)
        _require_stated_size(dataset, syntax, frames)
        if syntax.is_encapsulated:
            samples = dataset.Rows * dataset.Columns * (dataset.get("SamplesPerPixel") or 1)
            found = CODECS.decode(folder, CompressedInstance(data, str(syntax), PIXEL_MODULE, tuple(frames), samples))
            yield from (_Pixels(pixels, padding) for pixels in found)
            return
        unused = _unused_low_bits(dataset)
        dataset.BitsStored += unused
        for pixels, _ in get_decoder(syntax).iter_array(dataset, indices=list(frames), raw=True):
            yield _Pixels(pixels >> unused if unused else pixels, padding)
    except (*MALFORMED, RuntimeError) as error:
        raise undecodable() from error


def _unused_low_bits(dataset: FileDataset) -> int:
    """Count the bits below the values, which old writers put at the upper end of the word: HighBit tells."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    highest = int(dataset.get("HighBit") or stored - 1)
    return max(min(highest, allocated - 1) - (stored - 1), 0)


def _require_stated_size(dataset: FileDataset, syntax: UID, frames: Sequence[int]) -> None:
    """Raise InputRefused where a compressed frame declares another size than the header: before any codec sees it."""
    stated = FrameSize(dataset.Columns, dataset.Rows, dataset.get("SamplesPerPixel") or 1)
    if stated.columns * stated.rows * stated.samples > MAX_VOXELS:
        raise _too_large_image()
    if not syntax.is_encapsulated:
        return
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    count = int(dataset.get("NumberOfFrames") or 1)
    for frame in frames:
        stream = get_frame(dataset.PixelData, frame, number_of_frames=count, extended_offsets=offsets)
        declared = declared_size(stream, syntax, stated)
        if declared != stated:
            raise _size_disagrees(declared, stated)


def _transfer_syntax(dataset: FileDataset) -> UID:
    stated = dataset.file_meta.get("TransferSyntaxUID")
    if stated:
        return UID(stated)
    implicit, little_endian = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def _rescaled(pixels: _Pixels, plane: Plane) -> np.ndarray:
    """Turn stored values into output units: PS3.3 C.11.1 rescale, after turning MONOCHROME1 the usual way round.

    Padded pixels become NaN, whatever the rescaling would make of them.
    """
    stored = pixels.stored
    values = stored.astype(np.float32)
    if pixels.padding is not None:
        lowest, highest = pixels.padding
        values[(stored >= lowest) & (stored <= highest)] = np.nan
    if plane.facts.photometric == "MONOCHROME1":
        signed = np.issubdtype(stored.dtype, np.signedinteger)
        values = np.float32(-1 if signed else 2 ** (plane.facts.bits_stored or 8 * stored.itemsize) - 1) - values
    if plane.rescale_slope != 1:
        values *= np.float32(plane.rescale_slope)
    if plane.rescale_intercept != 0:
        values += np.float32(plane.rescale_intercept)
    return values


def _too_large_image() -> InputRefused:
    return InputRefused(
        "too_large",
        f"One image has more than {MAX_VOXELS // 10**6} million pixels. Send a head scan at its usual resolution.",
    )


def _size_disagrees(declared: FrameSize, stated: FrameSize) -> InputRefused:
    return InputRefused(
        "compressed_size_disagrees",
        f"The compressed pixel data of at least one image is {_described(declared)} by its own header, and "
        f"{_described(stated)} by the DICOM header; it was not decoded. Export the series again from the PACS, best "
        "uncompressed.",
    )


def _described(size: FrameSize) -> str:
    return f"{size.columns} x {size.rows} pixels" + (f" of {size.samples} samples" if size.samples != 1 else "")


def truncated() -> InputRefused:
    """Make the refusal of an image whose file ends too early."""
    return InputRefused(
        "truncated_pixel_data",
        "At least one image ends before its pixel data is complete. Send the series again; the transfer was cut short.",
    )


def undecodable() -> InputRefused:
    """Make the refusal of pixel data that no decoder accepts."""
    return InputRefused(
        "undecodable_pixel_data",
        "The pixel data of at least one image cannot be decoded (damaged, or compressed in an unsupported way). "
        "Send the series uncompressed, or as JPEG, JPEG-LS, JPEG 2000 or RLE.",
    )
