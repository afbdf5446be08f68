"""What a compressed study shows, by its values: a PACS that corrects a patient may send it otherwise encoded."""

from collections.abc import Callable

from med3d_service.settings import Settings
from med3d_service.studies.working_copy.messages import Job, Report
from med3d_service.studies.working_copy.pixels.canonical import digest_of_study
from med3d_service.studies.working_copy.pixels.decoder import PixelDecoder


def with_pixels_decoded(report: Report, job: Job, settings: Settings, while_waiting: Callable[[], object]) -> Report:
    """Digest the values in the place of the code streams; those stay where an image cannot be decoded."""
    images = [member for member in job.members if member.kind == "dicom"]
    decoder = PixelDecoder.of(settings)
    try:
        shown = decoder.digests(job.containers, images, while_waiting)
    finally:
        decoder.close()
    return report if shown is None else report.model_copy(update={"pixels": digest_of_study(shown)})
