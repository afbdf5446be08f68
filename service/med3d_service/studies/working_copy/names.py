"""What working copies are called in the store: a claim has a name of its own, so nobody writes over another's copy.

Until version 0.2 they were ``working/STUDY.tar``; where a study's row names such a key it is read as it is.
"""

import re

_OF_A_CLAIM = re.compile(r"working/([^/]+)\.(\d+)\.tar")


def working_key(study_id: str, claim: int) -> str:
    """Return the object key of the copy that was made under a claim."""
    return f"working/{study_id}.{claim}.tar"


def working_keys(study_id: str, last_claim: int) -> set[str]:
    """Return all keys that a study may have had, those of overtaken claims, too."""
    return {f"working/{study_id}.tar"} | {working_key(study_id, claim) for claim in range(1, last_claim + 1)}


def claim_of(key: str) -> tuple[str, int] | None:
    """Return the study and the claim of a key; None where it names no claim."""
    found = _OF_A_CLAIM.fullmatch(key)
    return None if found is None else (found[1], int(found[2]))
