"""The child that decodes pixels: reads jobs from stdin, a line each, and answers each in a line on stdout.

What it decodes may kill it, under limits of the operating system; whoever asked then knows that nothing is known.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import FileDataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array
from pydicom.uid import HTJ2K, JPEG2000, UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from med3d_confined import refuse_calls, shut_in
from med3d_confined.code_streams import FrameSize, declared_size
from med3d_service.storage.sealed import SealedReader
from med3d_service.studies.original_names import original_name
from med3d_service.studies.working_copy.child import confine
from med3d_service.studies.working_copy.deidentify import tolerant_reading
from med3d_service.studies.working_copy.messages import Limits
from med3d_service.studies.working_copy.pixels.canonical import digest_of_values
from med3d_service.studies.working_copy.pixels.messages import PixelAnswer, PixelJob, PixelQuestion

LEAST_CORRELATION = 0.99
"""Of a lossy copy with its original: JPEG at the quality of 50 keeps 0.998, neighbouring slices of a head have 0.95."""
MOST_SAMPLES = 512**3
"""Of one compressed frame."""
_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K})


class _Image:
    """An image and its values, (frames x) rows x columns."""

    def __init__(self, dataset: FileDataset) -> None:
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        if syntax.is_encapsulated:
            _require_declared_size(dataset, syntax)
        self.values = pixel_array(dataset, raw=True)
        self.is_lossy = syntax in _LOSSY or str(dataset.get("LossyImageCompression", "")) == "01"


def _require_declared_size(dataset: FileDataset, syntax: UID) -> None:
    """Raise ValueError where a frame declares another size than the header: before any codec sees it."""
    stated = FrameSize(dataset.Columns, dataset.Rows, dataset.get("SamplesPerPixel") or 1)
    if stated.columns * stated.rows * stated.samples > MOST_SAMPLES:
        raise ValueError("a frame is larger than any volume that is taken")
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    count = int(dataset.get("NumberOfFrames") or 1)
    for stream in generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=offsets):
        if declared_size(stream, syntax, stated) != stated:
            raise ValueError("a frame declares another size than its header")


def main() -> int:
    """Confine the process, then do jobs until nobody asks any more."""
    confine(Limits.model_validate_json(sys.argv[1]))
    refuse_calls()
    is_shut_in = False
    for line in sys.stdin:
        job = PixelJob.model_validate(json.loads(line))
        if not is_shut_in:  # with the folders of the first job, in which those of all others lie
            shut_in(sorted({Path(container.path).parent for container in job.containers}), ())
            is_shut_in = True
        answer = look_at(job)
        sys.stdout.write(answer.model_dump_json() + "\n")
        sys.stdout.flush()
    return 0


def look_at(job: PixelJob) -> PixelAnswer:
    """Decode the images, one after the other."""
    images = _images(job)
    if job.wanted is PixelQuestion.DIGESTS:
        return PixelAnswer(digests=tuple(None if image is None else _digest(image) for image in images))
    first = next(images, None)
    return PixelAnswer(alike=first is not None and all(one is not None and _are_alike(first, one) for one in images))


def _images(job: PixelJob) -> Iterator[_Image | None]:
    for member in job.members:
        container = job.containers[member.container]
        name = original_name(container.upload_id, container.site)
        key = bytes.fromhex(container.key.get_secret_value())
        image = None
        # The edge: whatever a codec says of what it cannot read, the image is not known.
        with contextlib.suppress(Exception), tolerant_reading():
            with SealedReader.by_file_key(Path(container.path), key, name, container.sha256) as sealed:
                buffered = io.BufferedReader(sealed, 1 << 20)
                buffered.seek(member.offset_bytes)
                data = buffered.read(min(member.size_bytes, sealed.size_bytes - member.offset_bytes))
            image = _Image(dcmread(io.BytesIO(data)))
        yield image


def _digest(image: _Image) -> str:
    return digest_of_values(image.values.astype(image.values.dtype.newbyteorder("<"), copy=False).tobytes())


def _are_alike(one: _Image, other: _Image) -> bool:
    """Tell whether two images show the same: value by value, or nearly so where one of them has lost details."""
    if one.values.shape != other.values.shape:
        return False
    if np.array_equal(one.values, other.values):
        return True
    if not (one.is_lossy or other.is_lossy) or not (one.values.std() and other.values.std()):
        return False
    return float(np.corrcoef(one.values.ravel(), other.values.ravel())[0, 1]) >= LEAST_CORRELATION


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
