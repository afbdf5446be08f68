import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from med3d_store.object_store import ObjectDamagedError
from med3d_worker.heads.tensors import TensorCache, TensorRecord, decode, encode, tensor_key
from rig.service.stores import MemoryStore

RECORD = TensorRecord(np.ones((2, 3, 4), np.float32), np.eye(4), {"snr": 12.5, "overlap": float("nan")})


@given(
    tensor=hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)),
    measures=st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1), st.floats()),
)
def test_a_record_comes_back_as_it_was(tensor, measures):
    back = decode(encode(TensorRecord(tensor, np.eye(4), measures)))
    np.testing.assert_array_equal(back.tensor, tensor)
    assert back.tensor.dtype == np.float32
    assert back.measures.keys() == measures.keys()
    for name, value in measures.items():
        np.testing.assert_equal(back.measures[name], value)


def test_the_same_record_gives_the_same_bytes():
    assert encode(RECORD) == encode(RECORD)


def test_the_key_follows_from_both_digests():
    keys = {tensor_key(a, b) for a in "ab" for b in "ab"}
    assert len(keys) == 4
    assert tensor_key("a", "b") == tensor_key("a", "b")


def test_a_kept_tensor_is_found_again_with_the_digest_of_its_bytes():
    cache = TensorCache(store := MemoryStore())
    stored = cache.keep("tensors/x.npz", RECORD)
    record, found = cache.find("tensors/x.npz")
    assert found == stored
    assert stored.sha256 == hashlib.sha256(store.objects["tensors/x.npz"]).hexdigest()
    np.testing.assert_array_equal(record.tensor, RECORD.tensor)
    np.testing.assert_array_equal(cache.load(stored).tensor, RECORD.tensor)


def test_an_unknown_key_is_not_found():
    assert TensorCache(MemoryStore()).find("tensors/x.npz") is None


def test_a_damaged_tensor_is_made_again_but_never_loaded():
    store = MemoryStore()
    cache = TensorCache(store)
    stored = cache.keep("tensors/x.npz", RECORD)
    store.objects["tensors/x.npz"] = store.objects["tensors/x.npz"][:50]
    assert cache.find("tensors/x.npz") is None
    with pytest.raises(ObjectDamagedError):
        cache.load(stored)


def test_the_memory_store_answers_like_the_real_one():
    store = MemoryStore()
    store.put("a", b"12")
    info = store.head("a")
    assert (info.key, info.size_bytes) == ("a", 2)
    assert info.modified_at <= datetime.now(UTC)
