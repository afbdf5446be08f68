"""What the conformance statement in docs/ says that the listener accepts, and what a listener does accept."""

import re
from pathlib import Path
from typing import Any

from pydicom._uid_dict import UID_dictionary
from pynetdicom import AE, build_context, build_role

PAGE = Path(__file__).parents[3] / "docs" / "conformance.md"
CONTEXTS_AT_ONCE = (
    32  # an association may have 128, but to write them with all syntaxes takes a busy machine longer than ARTIM
)
CLASSES = sorted(uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "SOP Class")
SYNTAXES = sorted(uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "Transfer Syntax")
COMMITMENT = "1.2.840.10008.1.20.1"


def accepted_contexts() -> dict[str, tuple[list[str], str]]:
    """Transfer syntaxes and role by SOP class, as the statement has them."""
    section = PAGE.read_text().split("### Presentation contexts that are accepted")[1].split("The transfer syntaxes")[0]
    rows = re.findall(r"^\| [^|]+ \| `([0-9.]+)` \| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)
    return {uid: (re.findall(r"`([0-9.]+)`", syntaxes), role) for uid, syntaxes, role in rows}


def negotiated(port: int, proposed: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, str]]:
    """Ask for these (class, syntaxes); those that were accepted, with the syntax that was taken."""
    taken = []
    for first in range(0, len(proposed), CONTEXTS_AT_ONCE):
        some = proposed[first : first + CONTEXTS_AT_ONCE]
        entity = AE(ae_title="SCANNER")
        roles: list[Any] = [build_role(COMMITMENT, scp_role=True)] if COMMITMENT in dict(some) else []
        contexts = [build_context(uid, list(syntaxes)) for uid, syntaxes in some]
        association = entity.associate("127.0.0.1", port, contexts=contexts, ae_title="MED3D", ext_neg=roles)
        assert association.is_established or association.rejected_contexts, "the listener let nobody in"
        taken += [(str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in association.accepted_contexts]
        if association.is_established:
            association.release()
    return taken
