"""The IHE integration statement: which actor of which profile the service is, and what of it is met."""

from dataclasses import dataclass

from med3d_service.results.conformance.markdown import name_of, table
from med3d_service.results.conformance.wording import WARNING
from med3d_service.results.reports import codes
from med3d_service.studies.dicom_instances.instance_headers import INPUT_CLASSES

INTRODUCTION = """# IHE integration statement

InfoVAE-Med3D, the release that this page comes with. Research use, not a medical device. By our own reading of the
IHE Radiology Technical Framework and its supplement AI Results; nothing of it was tested at a Connectathon. What the
objects and associations hold says the [conformance statement](conformance.md)."""


@dataclass(frozen=True)
class Claim:
    """A transaction or a piece of content of an actor, whether it is met, and how."""

    what: str
    met: str
    how: str


AIR = (
    Claim("Evidence Documents Stored (RAD-43)", "yes", "{sr} by C-STORE"),
    Claim("Creator Images Stored (RAD-18)", "where configured", "{sc} by C-STORE (kind `sc`)"),
    Claim("Store Instances Over the Web (RAD-108)", "yes", "STOW-RS, where the peer is one of DICOMweb"),
    Claim("Storage Commitment (RAD-10)", "where configured", "`commitment = true`, over DIMSE"),
    Claim("Query Images (RAD-14), Retrieve Images (RAD-16)", "yes", "Study Root C-FIND; C-MOVE or C-GET"),
    Claim("QIDO-RS Query (RAD-129), WADO-RS Retrieve (RAD-107)", "yes", "where the peer is one of DICOMweb"),
)
CONTENT = (
    Claim("Measurement", "yes", "TID 1500 and 1501: {measured}, with units of UCUM and limits of their intervals"),
    Claim("Qualitative finding", "yes", "the decision on the estimate: {decisions}"),
    Claim("Location", "no", "findings are of the whole brain: its site is coded ({site})"),
    Claim("Region (segmentation)", "yes", "{seg} of the brain ({site}) on the images that were read"),
    Claim("Parametric map", "no", "none is made"),
    Claim("Tracking identifier", "yes", "a UID of its own for each run"),
    Claim("Image reference", "yes", "the very instances that were read"),
    Claim("AI results tree, root result", "no", "one SR document holds all; the page is another view of it"),
    Claim("Algorithm identification", "yes", "name, version, digest and manufacturer of the model"),
    Claim("Result status", "yes", "unverified until a person accepts it; each verdict makes a document of its own"),
)
OTHERS = (
    Claim(
        "Results Distribution, Report Creator: Send Imaging Result (RAD-128)",
        "in part",
        "ORU^R01 by MLLP; [what it holds](results-out.md#to-the-ris)",
    ),
    Claim("Patient Information Reconciliation: Patient Update (RAD-12)", "in part", "ADT^A08, A40 and A47 are taken"),
    Claim(
        "ATNA, Secure Application: Record Audit Event (ITI-20)",
        "where configured",
        "DICOM audit messages, syslog over TLS",
    ),
    Claim("Consistent Time (ITI-1)", "by the host", "the service reads its host's clock"),
    Claim("AI Workflow for Imaging, Task Performer (UPS-RS worklists)", "no", "planned on paper alone"),
    Claim("Image Object Change Management: rejection notes", "no", "corrections supersede by a predecessor reference"),
)


def integration_statement() -> str:
    """Write the statement."""
    parts = (
        WARNING,
        INTRODUCTION,
        f"## AI Results (AIR)\n\nActor: **Evidence Creator**. It analyses {_inputs()}. Options: none are claimed.",
        _claims("transaction", AIR),
        "What results hold (RAD TF-3, content of AI results):",
        _claims("content", CONTENT),
        "## Other profiles\n\nNo actor of these is claimed as a whole; the table says what there is of them.",
        _claims("profile and transaction", OTHERS),
    )
    return "\n\n".join(parts) + "\n"


def _inputs() -> str:
    return ", ".join(sorted(name_of(uid) for uid in INPUT_CLASSES))


def _claims(head: str, claims: tuple[Claim, ...]) -> str:
    words = {
        "sr": "Comprehensive 3D SR",
        "sc": "Secondary Capture",
        "seg": "Segmentation",
        "measured": ", ".join(
            f"{one.meaning} (`{one.value}`)"
            for one in (codes.BRAIN_AGE, codes.BRAIN_AGE_GAP, codes.BRAIN_AGE_GAP_CORRECTED, codes.OUT_OF_DISTRIBUTION)
        ),
        "decisions": ", ".join(f"`{one.value}`" for one in codes.DECISIONS.values()),
        "site": f"{codes.BRAIN.value}, {codes.BRAIN.scheme_designator}",
    }
    return table((head, "met", "how"), ((one.what, one.met, one.how.format(**words)) for one in claims))
