"""The private coding scheme 99MED3D (docs/codes.md is its table), and the standard codes that stand beside it."""

from highdicom.sr import CodedConcept

from med3d_contract.results import Verdict

SCHEME = "99MED3D"
SCHEME_NAME = "InfoVAE-Med3D concepts"


def _own(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator=SCHEME, meaning=meaning)


BRAIN_AGE = _own("BA", "Brain age")
BRAIN_AGE_GAP = _own("BA-GAP", "Brain age gap")
BRAIN_AGE_GAP_CORRECTED = _own("BA-GAP-CORR", "Brain age gap corrected for age")
SDMT_ESTIMATE = _own("SDMT-EST", "Estimated Symbol Digit Modalities Test score")
INTERVAL_LOWER = _own("PI-LOWER", "Lower limit of prediction interval")
INTERVAL_UPPER = _own("PI-UPPER", "Upper limit of prediction interval")
INTERVAL_LEVEL = _own("PI-LEVEL", "Level of prediction interval")
OUT_OF_DISTRIBUTION = _own("OOD-PCT", "Percentile of distance from training cohort")
OUT_OF_SITE = _own("OOD-PCT-SITE", "Percentile of distance from healthy heads of the calibrated site")
CALIBRATED_FOR = _own("CAL-SITE", "Site whose healthy heads the estimate was calibrated with")
DECISION = _own("DECISION", "Decision on the estimate")
ACCEPTED = _own("ACCEPTED", "Accepted")
REVIEW = _own("REVIEW", "To be reviewed")
REFUSED = _own("REFUSED", "Refused: no estimate")
VERDICT = _own("VERDICT", "Verdict of a reader on the answer")
REJECTED = _own("REJECTED", "Rejected by a reader")
RESCAN = _own("RESCAN", "Another scan is wanted")
REASON = _own("REASON", "Reason of the decision")
EVIDENCE = _own("EVIDENCE", "Labels that the estimate was learned from")
INTENDED_USE = _own("USE", "Intended use")
BRAIN_AGE_ANALYSIS = _own("BA-ANALYSIS", "Brain age analysis of MR")

OWN_CODES = tuple(value for value in list(globals().values()) if isinstance(value, CodedConcept))
VERDICTS = {Verdict.ACCEPTED: ACCEPTED, Verdict.REJECTED: REJECTED, Verdict.RESCAN: RESCAN}
DECISIONS = {"accepted": ACCEPTED, "review": REVIEW, "refused": REFUSED}

MR_BRAIN = CodedConcept(value="24590-2", scheme_designator="LN", meaning="MR Brain")
MRI = CodedConcept(value="25056-3", scheme_designator="LN", meaning="MRI unspecified body region")
"""What CID 100, to which TID 1500 holds the procedure reported, has for a head: where it looked is the finding site."""
BRAIN = CodedConcept(value="12738006", scheme_designator="SCT", meaning="Brain")
ANATOMICAL_STRUCTURE = CodedConcept(value="91723000", scheme_designator="SCT", meaning="Anatomical Structure")
ESTIMATED = CodedConcept(value="414135002", scheme_designator="SCT", meaning="Estimated")
ARTIFICIAL_INTELLIGENCE = CodedConcept(value="123110", scheme_designator="DCM", meaning="Artificial Intelligence")
SUBJECT_AGE = CodedConcept(value="121033", scheme_designator="DCM", meaning="Subject Age")
REPORT_TITLE = CodedConcept(value="126000", scheme_designator="DCM", meaning="Imaging Measurement Report")
PROCESSED_IMAGE = CodedConcept(
    value="121322", scheme_designator="DCM", meaning="Source image for image processing operation"
)
DEVICE = CodedConcept(value="121007", scheme_designator="DCM", meaning="Device")

YEARS = CodedConcept(value="a", scheme_designator="UCUM", meaning="year")
POINTS = CodedConcept(value="{points}", scheme_designator="UCUM", meaning="points")
PERCENT = CodedConcept(value="%", scheme_designator="UCUM", meaning="percent")

RESEARCH_USE = "For research use. Not a medical device; not for diagnosis or treatment."
