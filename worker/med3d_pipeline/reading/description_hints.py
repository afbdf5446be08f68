"""Which known words a sender's descriptions contain: weak evidence. The descriptions themselves go no further."""

import re
import unicodedata
from collections.abc import Sequence

from med3d_pipeline.reading.agent_phrases import speaks_of_agent

MOST_CHARACTERS, MOST_DERIVATION_CHARACTERS = 256, 2048  # far above what the standard allows; the rest is not read
_DIXON = r"(?:m?dixon|flex|ideal)"
# Philips begins the names of its own protocols with an s: sT1W_3D_TFE, s3DI_MC_HR.
_WORDS = {
    "T1": r"s?t1(?:wi?|tfe|ce?|gd|km)?|gdt1w?|\w*mprage|bravo|f?spgr|mp2rage|vibe",
    "T2": r"s?t2w?(?! ?\*)|haste|ciss|fiesta",
    "FLAIR": r"s?flair|tirm|dark",
    "PD": r"pd|pdw|proton",
    "diffusion": r"s?dwi|dti|adc|trace|diff|diffusion|fa",
    "susceptibility": r"swip?|swan|hemo|t2star|t2 ?\*|qsm|susc|susceptibility|venobold|fsbb|bsi",
    "angiography": (
        r"(?:[23]d)?s?tof(?:[23]d)?|s?3di|inflow|motsa|cow|willis|art|arterial|ven|venous|c?e?mra|mrv|\w*angio\w*"
        r"|veno|venogram|venography|inhance|tricks|twist|pca?"
    ),
    "functional": r"bold|fmri|asl|perf|perfusion|rest",
    "scout": r"\w*(?:scout|survey|lo[ck]ali[sz]|scanogram|topogram|locator|plan ?scan|smart ?brain)\w*|scano",
    "localizer": (
        r"loc|pilot(?! ?study)|(?:3|three|tri) ?(?:pl|plane?s?)|auto ?align\w*|reperage|ue?bersicht\w*|overview"
        # A scan for planning an operation or radiotherapy is no scout.
        r"|(?<!rt )(?<!op )(?<!stealth )(?<!brainlab )(?<!surgical )(?<!surgery )(?<!therapy )(?<!treatment )"
        r"(?:planning|planung(?:sscan)?)"
    ),
    "calibration": (
        r"cal|\w*calib\w*|coil ?sens|sensitivity|\w*refscan\w*|ref scan|sense ?ref|ref sense|speeder ?map|prescan|shim"
        r"|shimming"
    ),
    "field map": r"\w*field ?map\w*|fmap|mapping|b[01] ?map|afi",
    "anatomy": (  # what no scout is called
        r"\w*mprage|bravo|f?spgr|mp2rage|3d(?![a-z0-9]).*(?<![a-z0-9])s?t1w?|s?t1w?(?![a-z0-9]).*(?<![a-z0-9])3d"
    ),
    "mpr": r"mpr",
    "reformat": r"reformat|reformatted|multiplanar",
    "projection": r"mips?|minips?|pjn|vrt|projections?",
    "subtraction": r"subtra[ck]tion|subtracted|soustraction|sottrazione|sustraccion|sub(?= *$)",
    "segmentation": r"segmentation|segmented|segment|classification|aseg|aparc|parcellation|label ?maps?"
    r"|(?<!face )masks?(?! *face)",
    "fusion": r"fused|fusion",
    # The part is the last word (t1_vibe_dixon_tra_F) or stands before a colon (GE: "FAT: LAVA-Flex"); fat elsewhere is
    # what was saturated.
    "Dixon fat": rf"{_DIXON} (?:.* )?(?:f|fat)(?= *$)|(?<!.)fat: (?:.*[^a-z0-9])?{_DIXON}",
    "Dixon out-of-phase": (
        rf"{_DIXON} (?:.* )?(?:opp|outphase|(?:out|out of|opp|opposed) phase)(?= *$)"
        rf"|(?<!.)out ?phase: (?:.*[^a-z0-9])?{_DIXON}"
    ),
    "map": (
        r"(?:[rt][12]|pd|myelin|probability|z ?score|density|thickness|tissue|asymmetry|parametric|quantitative) ?maps?"
        r"|qt[12]|ratio|symri [rt][12]"
    ),
}
_PATTERNS = {hint: re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])") for hint, words in _WORDS.items()}

_QUANTITIES = (
    r"parametric|quantitative|relaxation|perfusion|diffusion|velocity|adc|fa|md|cbf|cbv|mtt|ttp|tmax|z ?scores?|myelin"
    r"|probability|density|thickness|tissue|asymmetry|susceptibility|qsm|pd|[rt][12]"
)
_DERIVED = {
    "reformat": r"reformat\w*|multi ?planar|curved (?:planar|mpr|reformat\w*)",
    "mpr": r"mpr",
    "projection": r"projections?|mips?|minips?|(?:volume|surface) render\w*|vrt",
    "subtraction": r"subtra[ck]t\w*|soustraction|sottrazione|sustraccion|difference",
    "segmentation": r"segmentations?|segmented|label ?maps?|parcellations?|aparc|aseg",
    # A ratio of two images, and not by how much one was compressed.
    "map": rf"(?:{_QUANTITIES}) ?\*? ?maps?|(?<!compression )ratio(?! *\W? *\d)|qt[12]",
    "fusion": r"fused|fusion",
    "correction": r"grad ?warp|n3|n4|scaled|defac\w*",
}
_DERIVED_PATTERNS = {kind: re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])") for kind, words in _DERIVED.items()}
# DICOM codes of computed images (PS3.16, CID 7203) by what they make.
_CODES_BY_KIND = {
    "reformat": "113072 113073",
    "projection": "113048 113051 113074 113075 113078 113079",
    "subtraction": "113062",
    "segmentation": "113076",
    "map": (
        "113041 113044 113050 113052 113054 113055 113056 113057 113059 113060 113061 113063 113064 113065 113067 "
        "113068 113069 113070 113071 113084"
    ),
}
_KIND_OF_CODE = {code: kind for kind, codes in _CODES_BY_KIND.items() for code in codes.split()}


def hints_of(series: str, protocol: str = "") -> frozenset[str]:
    """Return the kinds of scan that SeriesDescription speaks of, such as ``T1``, ``scout`` or ``contrast agent``.

    ProtocolName speaks where the series is silent: some scanners write the whole examination's name there. Of T1 and of
    a contrast agent either may speak.
    """
    own, common = _kinds(series), _kinds(protocol)
    return frozenset((own or common) | (common & {"T1", "contrast agent"}))


def _kinds(description: str) -> set[str]:
    text = _plain(description, MOST_CHARACTERS)
    found = {hint for hint, pattern in _PATTERNS.items() if pattern.search(text)}
    if speaks_of_agent(description):
        found.add("contrast agent")
    return found


def derivations_of(description: str, codes: Sequence[str]) -> frozenset[str]:
    """Return what a DerivationDescription and DICOM codes say was computed, such as ``reformat`` or ``map``."""
    text = _plain(description, MOST_DERIVATION_CHARACTERS)
    found = {kind for kind, pattern in _DERIVED_PATTERNS.items() if pattern.search(text)}
    if "correction" in found:
        found.discard("mpr")  # beside corrections the word means MPRAGE, as in "MPR; GradWarp; N3; Scaled"
    return frozenset(found | {_KIND_OF_CODE[code] for code in codes if code in _KIND_OF_CODE})


def _plain(description: str, most: int) -> str:
    return unaccented(description[:most]).lower().replace("_", " ").replace("-", " ")


def unaccented(text: str) -> str:
    """Return the letters without their accents and dots: ``Reperage`` for the French word."""
    return "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
