"""A run's head as a viewer shows it: the volume that was analysed, its brain, what ageing changes, the template.

They are made when somebody opens the viewer, and lie in the store as NIfTI beside a list of what there is.
"""

from enum import StrEnum

from pydantic import Field

from med3d_contract.results import Frozen


class VolumeName(StrEnum):
    """What a viewer lays over each other, all of them in the scanner's RAS+ mm."""

    HEAD = "head"
    BRAIN = "brain"
    CHANGE = "change"
    TEMPLATE = "template"


class StoredVolume(Frozen):
    """A gzipped NIfTI file in the store."""

    name: VolumeName
    size_bytes: int = Field(ge=1)
    sha256: str


class StoredVolumes(Frozen):
    """What lies in the store of a run's head; written last, so that what it names is there."""

    volumes: tuple[StoredVolume, ...]
    defaced: bool = Field(False, description="the head has no face any more")

    def find(self, name: VolumeName) -> StoredVolume | None:
        """Return the volume of this name; None where the run has none."""
        return next((one for one in self.volumes if one.name == name), None)


def volume_key(run_id: str, name: VolumeName) -> str:
    """Tell where a volume lies in the store: in a folder of the run, so that an erasure finds it."""
    return f"volumes/{run_id}/{name}.nii.gz"


def volumes_key(run_id: str) -> str:
    """Tell where the list of a run's volumes lies."""
    return f"volumes/{run_id}/volumes.json"


def all_volume_keys(run_id: str) -> frozenset[str]:
    """Return every key that a run's volumes may have; the list's among them."""
    return frozenset({volumes_key(run_id), *(volume_key(run_id, name) for name in VolumeName)})
