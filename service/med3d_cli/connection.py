"""Which service to speak to, and with which key."""

import os
from pathlib import Path

from med3d_cli.data_dir import DataDir, default_data_dir
from med3d_cli.errors import CommandError
from med3d_client.calibrations import CalibrationsClient
from med3d_client.cohorts import CohortsClient
from med3d_client.results import ResultsClient


def connect(*, clinical: bool = False) -> ResultsClient:
    """Return MED3D_URL and MED3D_API_KEY (or MED3D_API_KEY_FILE), else what `med3d serve` runs for this user.

    clinical: by the key of that service which may see who a patient is.
    """
    return ResultsClient(*_where(clinical=clinical))


def connect_to_cohorts() -> CohortsClient:
    """Return the same service."""
    return CohortsClient(*_where())


def connect_to_calibrations() -> CalibrationsClient:
    """Return the same service."""
    return CalibrationsClient(*_where())


def _where(*, clinical: bool = False) -> tuple[str, str]:
    data_dir = DataDir(default_data_dir())
    return _url(data_dir), _key(data_dir.clinical_key_file if clinical else data_dir.api_key_file)


def _url(data_dir: DataDir) -> str:
    if stated := os.environ.get("MED3D_URL"):
        return stated
    try:
        return data_dir.address_file.read_text().strip()
    except OSError as error:
        raise CommandError(
            f"no service is ready on {data_dir.root}: set MED3D_DATA_DIR to the folder of one that is, or MED3D_URL "
            "and MED3D_API_KEY_FILE, or start one with `med3d serve`"
        ) from error


def _key(file: Path) -> str:
    if stated := os.environ.get("MED3D_API_KEY"):
        return stated
    path = Path(os.environ.get("MED3D_API_KEY_FILE") or file)
    try:
        return path.read_text().strip()
    except OSError as error:
        raise CommandError(
            f"the API key cannot be read from {path}: set MED3D_API_KEY or MED3D_API_KEY_FILE"
        ) from error
