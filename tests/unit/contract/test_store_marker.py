"""A store that vanished, is not mounted, or is another one is never taken for the store, nor made anew."""

import shutil

import pytest

from med3d_store.object_store import InvalidKeyError, ObjectMissingError, ObjectStore, StoreChangedError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(folder):
    return ObjectStore.make(folder.as_uri())


def uses(store, tmp_path):
    """Each way of using a store, as (name, call)."""
    file = tmp_path / "file"
    file.write_bytes(b"x")
    return {
        "put": lambda: store.put("a/b", b"x"),
        "put_file": lambda: store.put_file("a/c", file),
        "reserve": lambda: store.reserve(["a/d"]),
        "get": lambda: store.get("a/b"),
        "head": lambda: store.head("a/b"),
        "delete": lambda: store.delete("a/b"),
        "list": lambda: list(store.list()),
        "check": store.check,
    }


def test_a_store_is_made_once_and_keeps_its_id(store, folder):
    again = ObjectStore.make(folder.as_uri())
    assert store.identity() == again.identity() == ObjectStore.open(folder.as_uri()).identity()
    assert len(store.identity()) == 32
    assert store.is_empty()
    store.put("a/b", b"x")
    assert not store.is_empty()
    assert [found.key for found in store.list()] == ["a/b"]
    with pytest.raises(InvalidKeyError):
        store.put("store.id", b"another")


def test_to_open_a_store_makes_nothing(folder, tmp_path):
    store = ObjectStore.open(folder.as_uri())
    for name, use in uses(store, tmp_path).items():
        with pytest.raises(StoreChangedError):
            use()
        assert not folder.exists(), name
    ObjectStore.make(folder.as_uri())
    store.put("a/b", b"x")
    assert store.get("a/b") == b"x"


def test_who_joins_a_store_takes_no_folder_without_a_marker_for_it(folder, tmp_path):
    folder.mkdir()  # a mount point
    store = ObjectStore.join(folder.as_uri())
    for name, use in uses(store, tmp_path).items():
        with pytest.raises(StoreChangedError):
            use()
        assert list(folder.iterdir()) == [], name
    ObjectStore.make(folder.as_uri())  # it is mounted
    store.put("a/b", b"x")
    assert store.get("a/b") == b"x"


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "another store"])
def test_a_store_that_went_away_is_used_no_more_until_it_is_back(store, folder, tmp_path, left):
    store.put("a/b", b"x")
    folder.rename(tmp_path / "unmounted")
    if left == "an empty folder":
        folder.mkdir()
    elif left == "another store":
        ObjectStore.make(folder.as_uri())
    before = sorted(folder.rglob("*")) if folder.exists() else None
    for use in uses(store, tmp_path).values():
        with pytest.raises(StoreChangedError):
            use()
    assert (sorted(folder.rglob("*")) if folder.exists() else None) == before
    shutil.rmtree(folder, ignore_errors=True)
    (tmp_path / "unmounted").rename(folder)
    assert store.get("a/b") == b"x"
    with pytest.raises(ObjectMissingError):
        store.get("a/never")


def test_whoever_knows_the_id_takes_no_other_store_even_at_the_start(store, folder):
    known = store.identity()
    assert ObjectStore.open(folder.as_uri(), expected=lambda: known).put("a/b", b"x")
    with pytest.raises(StoreChangedError):
        ObjectStore.open(folder.as_uri(), expected=lambda: "another").put("a/b", b"x")


def test_a_folder_of_a_release_without_markers_works_until_it_has_one(folder):
    folder.mkdir()
    store = ObjectStore.open(folder.as_uri())
    store.put("a/b", b"x")
    made = ObjectStore.make(folder.as_uri())
    store.put("a/c", b"y")
    assert made.get("a/b") == b"x"
