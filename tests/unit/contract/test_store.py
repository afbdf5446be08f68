"""The object store on a local folder."""

import pytest

from med3d_store.object_store import InvalidKeyError, ObjectDamagedError, ObjectMissingError, ObjectStore, StoreError


@pytest.fixture
def store(tmp_path):
    return ObjectStore.make((tmp_path / "a store").as_uri())


def test_what_was_put_comes_back_and_its_digest_is_checked(store):
    stored = store.put("working/a.tar", b"hello")
    assert store.get("working/a.tar", stored.sha256) == b"hello"
    assert stored.size_bytes == 5
    with pytest.raises(ObjectDamagedError):
        store.get("working/a.tar", "0" * 64)


def test_a_damaged_object_is_noticed_in_a_stream_and_leaves_no_file(store, tmp_path):
    stored = store.put("a", b"hello")
    (tmp_path / "a store" / "a").write_bytes(b"hullo")
    with pytest.raises(ObjectDamagedError):
        list(store.stream("a", stored.sha256))
    with pytest.raises(ObjectDamagedError):
        store.fetch("a", tmp_path / "target", stored.sha256)
    assert not (tmp_path / "target").exists()


def test_a_file_is_moved_in_whole(store, tmp_path):
    file = tmp_path / "big"
    file.write_bytes(b"x" * 3_000_000)
    stored = store.put_file("originals/b", file)
    assert not file.exists()
    assert b"".join(store.stream("originals/b", stored.sha256)) == b"x" * 3_000_000
    assert store.local_path("originals/b").read_bytes()[:1] == b"x"


def test_objects_are_replaced_found_and_deleted(store):
    store.put("r/1/1.json", b"a")
    store.put("r/1/1.json", b"bb")
    store.put("r/2/1.json", b"c")
    assert store.head("r/1/1.json").size_bytes == 2
    assert sorted(found.key for found in store.list("r")) == ["r/1/1.json", "r/2/1.json"]
    store.delete("r/1/1.json")
    store.delete("r/1/1.json")
    assert store.head("r/1/1.json") is None
    with pytest.raises(ObjectMissingError):
        store.get("r/1/1.json")


def test_nothing_is_left_aside(store, tmp_path):
    store.put("a/b", b"x")
    store.check()
    files = [path for path in (tmp_path / "a store").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"store.id", "b"}


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\\..\\b", "a\0b", "a\nb", "ü", ".aside/x"]
)
def test_keys_that_lead_elsewhere_are_refused(store, key):
    for call in (store.get, store.delete, store.head, lambda k: store.put(k, b""), store.local_path):
        with pytest.raises(InvalidKeyError):
            call(key)


@pytest.mark.parametrize("url", ["http://host/x", "file://elsewhere/x", "gs://bucket", "nonsense"])
def test_only_folders_and_s3_are_stores(url):
    with pytest.raises(StoreError):
        ObjectStore.make(url)
