"""What was done to images that are no longer as the scanner acquired them: which of it still is a whole scan."""

import re

from med3d_pipeline.reading.dicom_plane import SequenceFacts
from med3d_pipeline.reading.refusals import Fault
from med3d_pipeline.reasons import Reason, ReviewCode

UNIFORM = frozenset({"UNI", "UNI-DEN"})
# By the words of any value: vendors write MPR_THICK, MIP THICK, PROJECTION IMAGE.
_BY_IMAGE_TYPE = {
    "a reformat": frozenset({"MPR", "REFORMATTED", "REFORMAT", "CPR"}),
    "a projection or rendering": frozenset(
        {"MIP", "MINIP", "PROJECTION", "MAXIMUM", "MINIMUM", "RENDER", "RENDERED", "RENDERING", "VRT", "COLLAPSE"}
    ),
    "a subtraction": frozenset({"SUBTRACTION", "SUBTRACT", "SUBTRACTED", "SUB"}),
    "a map of a quantity": frozenset({"QUANTITY", "DEVIATION", "DIVISION", "RATIO"}),
    "a segmentation": frozenset({"SEGMENTATION", "LABELMAP"}),
    "a fusion of two scans": frozenset({"FUSION", "FUSED"}),
}
_BY_WORD = {
    "reformat": "a reformat",
    "mpr": "a reformat",
    "projection": "a projection or rendering",
    "subtraction": "a subtraction",
    "map": "a map of a quantity",
    "segmentation": "a segmentation",
    "fusion": "a fusion of two scans",
}


def derivation_fault(facts: SequenceFacts) -> Fault | None:
    """Refuse what is computed from a scan and is no scan any more: reformats, projections, subtractions, maps.

    Whole scans that were defaced, filtered, corrected, compressed or written back keep their mark of derivation, too;
    they are not refused (see derivation_remarks).
    """
    made = _made(facts)
    if made is None:
        return None
    return Fault(
        "derived_only",
        f"The series is {made}, computed from another one. Send the original acquisition that it was made from.",
    )


def derivation_remarks(facts: SequenceFacts) -> tuple[Reason, ...]:
    """Say what a person should know of a whole scan that was changed after the scanner reconstructed it."""
    if facts.lossy_compressed:
        sentence = (
            "The images were compressed with loss, which alters fine detail. "
            "Where the archive has them without loss, send those."
        )
        return (Reason(ReviewCode.LOSSY_COMPRESSION, sentence),)
    if is_derived(facts) and not UNIFORM & set(facts.image_type):
        sentence = (
            "The images are marked as derived: defaced, filtered, corrected or written back from another format. "
            "Where the scanner's own series exists, send that."
        )
        return (Reason(ReviewCode.DERIVED_IMAGE, sentence),)
    return ()


def is_derived(facts: SequenceFacts) -> bool:
    """Tell whether the first value of ImageType says that the pixels were computed from others."""
    return facts.image_type[:1] == ("DERIVED",)


def _made(facts: SequenceFacts) -> str | None:
    kind = {word for value in facts.image_type for word in re.split(r"[^A-Z0-9]+", value)}
    by_type = next((made for made, values in _BY_IMAGE_TYPE.items() if kind & values), None)
    if by_type is not None:
        return by_type
    if facts.volume_calculation not in {"", "NONE"}:
        return "a projection or rendering"
    words = set(facts.derivations)
    if is_derived(facts):  # of an original the description says what it may be used for; here, what it is
        words |= facts.description_hints - {"mpr"}
    return next((made for word, made in _BY_WORD.items() if word in words), None)
