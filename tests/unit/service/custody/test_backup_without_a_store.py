"""A backup while the store is away: an empty mount point is no store, and its backup would look whole."""

from contextlib import closing

import pytest

from med3d_service.custody.backup import BackupArchive, BackupError, back_up
from med3d_service.storage.opening import open_database
from med3d_service.storage.store_identity import open_store
from rig.service.parts import migrated


@pytest.mark.parametrize("in_its_place", ["nothing", "a folder", "a file"])
def test_a_store_that_is_away_is_not_backed_up_as_an_empty_one(tmp_path, in_its_place):
    settings, backups = migrated(tmp_path / "data"), tmp_path / "backups"
    with closing(open_database(settings)) as database:
        store = open_store(settings, database)
        store.put("working/x.tar", b"whole")
    assert back_up(settings, backups)[1].objects == 1
    root = store.local_root
    assert root is not None
    root.rename(tmp_path / "away")
    if in_its_place == "a folder":
        root.mkdir()
    elif in_its_place == "a file":
        root.write_text("")
    with pytest.raises(BackupError, match="nothing was backed up"):
        back_up(settings, backups)
    assert len(BackupArchive(backups).names()) == 1
    if in_its_place != "nothing":
        root.rename(tmp_path / "instead")
    (tmp_path / "away").rename(root)
    assert back_up(settings, backups)[1].copied_objects == 0
