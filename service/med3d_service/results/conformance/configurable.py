"""Tables of what an operator sets: the service's settings and the keys of a peer, with their defaults."""

import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from med3d_service.network.peers.configuration import DicomwebPeer, DimsePeer
from med3d_service.results.conformance.markdown import table
from med3d_service.settings import Settings

OF_DICOM = re.compile(
    r"dicom_.*|pull_.*|delivery_.*|peers_file|ae_titles_file|deliveries_file|rules_file|quiet_s|t1_wait_s"
)
OF_BOUNDS = re.compile(r"max_instance_bytes|reserve_bytes|max_upload_bytes|max_files")


def settings_table() -> str:
    """Return the settings that an association or a DICOMweb request depends on."""
    rows = (
        (f"`MED3D_{name.upper()}`", field.description or "", _default(field))
        for name, field in Settings.model_fields.items()
        if OF_DICOM.fullmatch(name) or OF_BOUNDS.fullmatch(name)
    )
    return table(("setting", "meaning", "default"), rows)


def peers_table() -> str:
    """Return the keys of a peer in the peers' file."""
    tables: tuple[tuple[str, type[BaseModel]], ...] = (("dimse", DimsePeer), ("dicomweb", DicomwebPeer))
    rows = (
        (f"`[{which}.NAME]`", f"`{name}`", _default(field))
        for which, peer in tables
        for name, field in peer.model_fields.items()
    )
    return table(("table", "key", "default"), rows)


def default_of(name: str) -> str:
    """Return a setting's default, for a sentence."""
    return f"{Settings.model_fields[name].default:g}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    factory: Callable[..., Any] | None = field.default_factory
    value = field.default if factory is None else None
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
