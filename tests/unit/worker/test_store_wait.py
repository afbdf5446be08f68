"""A worker that is started where no store is waits for it, and says once what to do."""

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from med3d_store.object_store import ObjectStore, StoreError
from med3d_worker.app import WorkerUnfit, await_store
from med3d_worker.process.store_wait import FIRST_PAUSE_S, LONGEST_PAUSE_S, wait_for_store
from med3d_worker.settings import WorkerSettings


def test_a_store_that_is_there_is_not_waited_for(tmp_path):
    ObjectStore.make(f"file://{tmp_path}/store")
    with capture_logs() as said:
        wait_for_store(f"file://{tmp_path}/store", pause=pytest.fail)
        wait_for_store("s3://bucket/prefix", pause=pytest.fail)
    assert said == []


def test_what_is_missing_is_said_once_and_waited_for_ever_longer(tmp_path):
    store, pauses = tmp_path / "store", []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 10:
            store.mkdir()
        if len(pauses) == 12:
            ObjectStore.make(f"file://{store}")

    with capture_logs() as said:
        wait_for_store(f"file://{store}", pause)
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)
    assert pauses == sorted(pauses)
    assert [line["event"] for line in said] == ["store_not_there", "store_not_there", "store_found"]
    assert [line["seen"][:20] for line in said[:2]] == ["there is no such fol", "the folder holds no "]
    for line in said[:2]:
        assert line["folder"] == str(store)
        assert "MED3D_STORE_URL" in line["remedy"]


def test_what_is_no_store_s_address_names_the_setting(tmp_path):
    with pytest.raises(StoreError):
        wait_for_store(str(tmp_path))
    with pytest.raises(ValidationError, match="a store is file:///folder"):
        WorkerSettings(store_url=str(tmp_path), worker_key="x")
    with pytest.raises(WorkerUnfit, match="MED3D_STORE_URL: a store is file:///folder") as unfit:
        await_store(WorkerSettings.model_construct(store_url=str(tmp_path)))
    assert unfit.value.lasting
