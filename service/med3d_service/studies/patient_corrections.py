"""What a message says of a patient: whose studies it means, and what their identifiers become."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Self

ID, ISSUER, NAME, BIRTH_DATE = "patient_id", "issuer_of_patient_id", "patient_name", "birth_date"
KINDS = (ID, ISSUER, NAME, BIRTH_DATE)
"""The identifiers that a message may change."""


class UpdateRefusedError(ValueError):
    """The message does not tell which patient, or which identifier, is meant; the sentence says what to do."""


@dataclass(frozen=True)
class KnownAs:
    """An identifier of a patient, and who assigned it (empty where that is not said)."""

    patient_id: str = field(repr=False)
    authority: str = ""


@dataclass(frozen=True)
class PatientUpdate:
    """One patient's correction. None leaves as it is; empty text takes away.

    sought: whose studies are meant. becomes: the identifiers that are theirs from now on; none: those that they have.
    """

    sought: tuple[KnownAs, ...]
    becomes: tuple[KnownAs, ...]
    name: str | None = field(repr=False)
    birth_date: str | None = field(repr=False)
    sex: str | None

    def written(self) -> str:
        """Return the update as JSON, to be sealed."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what ``written`` gave."""
        told = json.loads(text)
        sought, becomes = (tuple(KnownAs(**one) for one in told[name]) for name in ("sought", "becomes"))
        return cls(sought, becomes, told["name"], told["birth_date"], told["sex"])

    def means(self, patient_id: str, issuer: str) -> KnownAs | None:
        """Tell by which identifier these images are meant: the same one, of the same authority where both name one."""
        for known in self.sought:
            same = known.patient_id.strip().casefold() == patient_id.strip().casefold()
            if same and (not issuer or not known.authority or issuer == known.authority):
                return KnownAs(known.patient_id, issuer or known.authority)
        return None

    def of_who_stays(self) -> Self:
        """Return the same of who stays after a merge: what it says of the patient is of them."""
        return replace(self, sought=self.becomes, becomes=())

    def require_one_authority(self) -> None:
        """Raise UpdateRefusedError where images that name no issuer could be meant by any of several authorities."""
        if len({known.authority for known in self.sought} - {""}) > 1:
            raise UpdateRefusedError(
                "The identifiers are of several assigning authorities, and the images name none: set "
                "MED3D_HL7_AUTHORITY to the one that assigns their PatientID."
            )

    def becomes_of(self, known: KnownAs) -> KnownAs | None:
        """Tell which identifier takes the place of ``known``; None where it stays. Raises UpdateRefusedError."""
        if not self.becomes:
            return None
        fitting = [one for one in self.becomes if one.authority in {known.authority, ""}]
        if not known.authority and len({one.authority for one in self.becomes}) == 1:
            fitting = list(self.becomes)
        if not fitting:
            raise UpdateRefusedError(
                "PID-3 has no identifier of the assigning authority whose identifier MRG-1 takes away."
            )
        return fitting[0]

    def changes(self, known: KnownAs, before: Mapping[str, str]) -> dict[str, str]:
        """Return the identifiers (KINDS) that are not ``before`` what the update makes of them.

        Raises UpdateRefusedError.
        """
        told = {BIRTH_DATE: self.birth_date, NAME: merged_name(before[NAME], self.name)}
        new = self.becomes_of(known)
        if new is not None:
            told[ID] = new.patient_id
            if before[ISSUER]:  # images that named no issuer go on without one: a PACS might not know them otherwise
                told[ISSUER] = new.authority or before[ISSUER]
        return {kind: text for kind, text in told.items() if text is not None and text != before[kind]}


def merged_name(before: str, told: str | None) -> str | None:
    """Return the name as told.

    Groups in other writing (PS3.5 6.2) stay where the alphabetic one does. None: as it was.
    """
    if told is None or not told:
        return told
    groups, kept = _groups(told), _groups(before)
    if not groups[0] or groups[0] == kept[0]:
        groups = [new or old for new, old in zip(groups, kept, strict=True)]
    return None if groups == kept else "=".join(groups).rstrip("=")


def _groups(name: str) -> list[str]:
    """Return alphabetic, ideographic, phonetic; empty components at the end say nothing."""
    return [group.rstrip("^ ") for group in (*name.split("=")[:3], "", "", "")][:3]


def same_patients(updates: Sequence[PatientUpdate]) -> tuple[tuple[str, str], ...]:
    """Return patient IDs that are one patient's by these updates: the one before, and the one after."""
    pairs = []
    for update in updates:
        for known in update.sought:
            with suppress(UpdateRefusedError):  # another identifier is the one that was meant
                new = update.becomes_of(known)
                if new is not None:
                    pairs.append((known.patient_id, new.patient_id))
    return tuple(pairs)
