"""Which known words a sender's descriptions contain: weak evidence. The descriptions themselves go no further."""

import re

_WORDS = {
    "T1": r"t1(?:wi?|tfe|ce?|gd|km)?|\w*mprage|bravo|f?spgr|mp2rage|vibe",
    "T2": r"t2w?(?! ?\*)|haste|ciss|fiesta",
    "FLAIR": r"flair|tirm|dark",
    "PD": r"pd|pdw|proton",
    "diffusion": r"dwi|dti|adc|trace|diff|diffusion|fa",
    "susceptibility": r"swip?|swan|hemo|t2star|t2 ?\*|qsm|susc|susceptibility|venobold|fsbb|bsi",
    "angiography": r"tof|c?e?mra|mrv|\w*angio\w*|veno|venogram|venography|inhance|tricks|twist|mip|pca?",
    "functional": r"bold|fmri|asl|perf|perfusion|rest",
    "scout": r"\w*(?:scout|survey|locali[sz]er|scanogram|locator|plan ?scan|smart ?brain)\w*|scano",
    "localizer": r"loc",
    "calibration": r"cal|\w*calib\w*|coil ?sens|sensitivity|ref ?scan|sense ?ref|ref sense|prescan|shim|shimming",
    "field map": r"\w*field ?map\w*|fmap|mapping|b[01] ?map|afi",
    "reformat": r"mpr|reformat|reformatted",
}
_PATTERNS = {hint: re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])") for hint, words in _WORDS.items()}

_AGENT = r"gd|gad|gado\w*|dotarem|magnevist|omniscan|prohance|multihance|clariscan|ce|km|c|contrast|kontrast(?:mittel)?"
_WITHOUT_AGENT = re.compile(rf"(?<![a-z0-9])(?:pre|non?|without|w/o|wo|ohne|sans|before|vor) ?(?:{_AGENT})(?![a-z0-9])")
_WITH_AGENT = re.compile(
    rf"(?<![a-z0-9])(?:{_AGENT.replace('|c|', '|')}|post|postcontrast|t1 ?(?:ce?|gd|km)|c ?\+)(?![a-z0-9])"
    r"|\+ ?c(?![a-z0-9])"
)


def hints_of(*descriptions: str) -> frozenset[str]:
    """Return the kinds of scan that ``descriptions`` speak of, such as ``T1``, ``scout`` or ``contrast agent``."""
    joined = " ".join(descriptions).lower().replace("_", " ").replace("-", " ")
    found = {hint for hint, pattern in _PATTERNS.items() if pattern.search(joined)}
    if _WITH_AGENT.search(_WITHOUT_AGENT.sub(" ", joined)):
        found.add("contrast agent")
    return frozenset(found)
