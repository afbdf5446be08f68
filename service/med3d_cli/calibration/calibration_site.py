"""A site's name as it is written into a calibration: one spelling, and no identifier of anybody."""

import re

_MONTH = r"(?:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-z]*"
_IDENTIFIERS = re.compile(
    r"\d{5}"  # a case number, or a date without signs between
    r"|\b\d{4}\s*[./-]\s*\d{1,2}\s*[./-]\s*\d{1,2}\b"
    r"|\b\d{1,2}\s*[./-]\s*\d{1,2}\s*[./-]\s*(?:\d{4}|\d{2})\b"
    rf"|\b\d{{1,2}}[. -]*{_MONTH}[. -]*\d{{2,4}}\b",
    re.IGNORECASE,
)


def one_spelling(site: str) -> str:
    """Return the name with single spaces, and none at its ends."""
    return " ".join(site.split())


def check_site(site: str) -> None:
    """Raise CalibrationRefused where ``site`` is no label, or may be a person's date or number."""
    from med3d_pipeline.calibration.fitting import check_name
    from med3d_pipeline.calibration.refusals import CalibrationCode, CalibrationRefused

    check_name(site)
    if _IDENTIFIERS.search(site):
        raise CalibrationRefused(
            CalibrationCode.BAD_NAME,
            "The site's name holds a date or five digits in a row, as names of persons and visits do, and it is shown "
            "in answers. Choose a label of the scanner alone, such as Ward 3 Prisma.",
        )
