"""Names of volumes as they may travel: which contrast they tell, and whose of several heads it is, by a number.

What such a name means is judged in one place, by who reads the images (med3d_pipeline.study.nifti_names).
"""

import re
from collections.abc import Sequence

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh")
_CONTRASTS = "t1w t2w pdw pdt2 t2star t2starw flair inplanet2 angio swi bold sbref dwi epi asl m0scan"
_STEPS = "deface defaced brain n4 biascorr"
_KEPT = frozenset(f"{_CONTRASTS} {_STEPS}".split())
_SUBJECT = re.compile(r"(?:^|[/_])sub-([A-Za-z0-9]+)")


def kept_names(paths: Sequence[str]) -> list[str]:
    """Return what may be kept of the names of a study's volumes, to be put behind a number of ours.

    Words that BIDS has for contrasts and steps of processing stay; any other becomes ``x``, or ``t1`` and ``mask``
    where it speaks of such. The subject that a path tells becomes its number among those of the study. What is kept of
    a kept name, whatever number stands before it, means the same.
    """
    found = [_SUBJECT.findall(path.replace("\\", "/")) for path in paths]
    labels = [told[-1].casefold() if told else None for told in found]
    numbers = {label: number for number, label in enumerate(sorted(filter(None, set(labels))), 1)}
    return [
        ("" if label is None else f"_sub-{numbers[label]}") + f".{_kept_words(path)}"
        for path, label in zip(paths, labels, strict=True)
    ]


def tells_t1w_more_surely(path: str, than: str) -> bool:
    """Tell which of two names of one volume counts, as for copies in `med3d analyse`: T1w with the fewest words."""
    ours, other = _kept_words(path), _kept_words(than)
    return "t1w" in ours and ("t1w" not in other or len(ours) < len(other))


def _kept_words(path: str) -> str:
    name = re.split(r"[/\\]", path)[-1].casefold()
    suffix = next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), "")
    words = re.sub(r"desc-([^_-]+)|[^_-]+", _kept_word, name.removesuffix(suffix))
    return re.sub(r"x(?:[_-]+x)+(?![a-z0-9])", "x", words)


def _kept_word(found: re.Match[str]) -> str:
    word, described = found[0], found[1]
    if described is not None:
        return "desc-mask" if "mask" in described else "desc-x"
    if word in _KEPT:
        return word
    return next((told for told in ("mask", "t1") if told in word), "x")
