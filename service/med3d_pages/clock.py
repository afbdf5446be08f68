"""The service's clock, which all moments on pages are told by: wherever its browsers are."""

import os
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from med3d_pages.numbers import MINUS


def local_zone() -> str:
    """Name the service's time zone as the IANA database does, where TZ or else this machine says it; UTC otherwise."""
    said = os.environ.get("TZ")
    if said is None:
        said = str(Path("/etc/localtime").resolve()).partition("/zoneinfo/")[2]
    name = said.removeprefix(":")
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):  # such as CET-1CEST, a rule without a name
        return "UTC"


def zone() -> str:
    """Write the zone of the service's clock, such as Europe/Berlin, UTC+01:00: times of summer are told by summer's."""
    now, name = datetime.now().astimezone(), local_zone()
    offset = f"{now:%z}".replace("-", MINUS)
    written = f"UTC{offset[:3]}:{offset[3:5]}"
    is_named = "/" in name and not name.startswith("Etc/") and _offset_in(name, now) == now.utcoffset()
    return f"{name}, {written}" if is_named else written


def _offset_in(name: str, at: datetime) -> object:
    return at.astimezone(ZoneInfo(name)).utcoffset()
