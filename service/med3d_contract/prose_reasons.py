"""Reads the reasons that were stored under contract version 5: "code: sentence", or prose without a code."""

import re

UNCODED = "uncoded"
"""Of a reason that no release is known to have written; its sentence is kept."""

_CODED = re.compile(r"([a-z][a-z0-9_]*): (.+)", re.DOTALL)
# Every prose that version 5 wrote, and the code that the same fact has now.
_PROSE = (
    (re.compile(r"the series was chosen by hand"), "chosen_by_hand"),
    (re.compile(r"the series would not have been chosen \("), "not_eligible"),
    (re.compile(r"\d+ series are equally suitable"), "series_tie"),
    (re.compile(r"the headers do not tell the contrast"), "contrast_unknown"),
    (re.compile(r"two-dimensional acquisition"), "two_dimensional"),
    (re.compile(r"acquired after contrast agent"), "contrast_agent"),
    (re.compile(r"MP2RAGE uniform image"), "noisy_background"),
    (re.compile(r"voxels of [\d.]+ to [\d.]+ mm"), "thick_slices"),
    (re.compile(r"\d+ files are damaged"), "damaged_files"),
    (re.compile(r"another T1-weighted series cannot be used \("), "other_series_damaged"),
    (re.compile(r"\w+ of \S+ is outside "), "unusual_measure"),
)


def code_and_sentence(prose: str) -> dict[str, str]:
    """Split a stored reason; the sentence begins with a capital and ends with a full stop, as all do now."""
    if coded := _CODED.fullmatch(prose):
        return {"code": coded[1], "sentence": _whole(coded[2])}
    code = next((code for pattern, code in _PROSE if pattern.match(prose)), UNCODED)
    return {"code": code, "sentence": _whole(prose)}


def _whole(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
