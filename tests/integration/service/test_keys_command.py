import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from rig.service.parts import open_database


def med3d_service(*words: str, data_dir: Path) -> int:
    environment = os.environ | {"MED3D_DATA_DIR": str(data_dir)}
    return subprocess.run(
        [sys.executable, "-m", "med3d_service", *words], env=environment, timeout=120, check=False
    ).returncode


def test_keys_are_made_once_for_people_and_workers_and_only_their_owner_reads_them(tmp_path):
    folder = tmp_path / "keys"
    assert med3d_service("migrate", data_dir=tmp_path / "data") == 0
    assert med3d_service("keys", str(folder), data_dir=tmp_path / "data") == 0
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == {"client.key", "clinical.key", "worker.key"}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert med3d_service("keys", str(folder), data_dir=tmp_path / "data") == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_a_later_versions_schema_is_left_alone_and_said_in_one_line(tmp_path):
    database = open_database(tmp_path)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    done = subprocess.run(
        [sys.executable, "-m", "med3d_service", "migrate"],
        env=os.environ | {"MED3D_DATA_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: the database's schema (9999) is of a later version")


def test_an_unknown_process_is_a_usage_error(tmp_path):
    assert med3d_service("everything", data_dir=tmp_path) == 2
