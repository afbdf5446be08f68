"""What an analysis leaves to look at: mosaics of the head for its page."""

from med3d_cli.reports.mosaics import Mosaic, as_address, outline_mosaic, template_mosaic
from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_worker.analysis import Analysis

OUTLINE = "The scan with the outline of the brain that was found; the patient's right is on the left."
TENSOR = (
    "Above: the head as the model sees it. Below: the template, cut at the same places, its outline on both. It "
    "should follow the brain's edge above as it does below."
)


def mosaics_of(analysis: Analysis, template: Template) -> list[Mosaic]:
    """Draw what there is to see of a head; nothing where it was refused before its brain was sought."""
    found = []
    if analysis.pictures is not None:
        found.append(Mosaic(as_address(outline_mosaic(analysis.pictures)), OUTLINE))
    images = analysis.prepared.images if analysis.prepared else None
    if images is not None:
        found.append(Mosaic(as_address(template_mosaic(images, template)), TENSOR))
    return found
