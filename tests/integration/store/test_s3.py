"""The object store on S3, spoken to over HTTP and TLS: moto's server, set up as operators do, by the AWS environment."""

import subprocess
import sys
import zipfile

import httpx
import pytest

from med3d_cli.errors import CommandError
from med3d_cli.operate.bundle_source import BundleLimits, fetch_bundle
from med3d_store.object_store import ObjectDamagedError, ObjectMissingError, ObjectStore, StoreError
from med3d_worker.heads.tensors import TensorCache, tensor_key
from rig.peers import dcmtk
from rig.processes.service import free_port
from rig.processes.tls_front import tls_front
from rig.processes.waiting import wait_until
from rig.service.work import RECORD


@pytest.fixture(scope="module")
def endpoint():
    """An S3 server with one bucket."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: answers(url), "the S3 server's start")
        httpx.put(f"{url}/med3d").raise_for_status()
        yield url
    finally:
        server.terminate()
        server.wait(10)


def answers(url):
    try:
        return httpx.get(url).status_code < 500
    except httpx.TransportError:
        return False


@pytest.fixture
def account(endpoint, monkeypatch):
    """What the environment says of an S3 anywhere."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def store(account):
    account.setenv("AWS_ALLOW_HTTP", "true")
    return ObjectStore.open("s3://med3d/below")


def test_what_was_put_comes_back_and_its_digest_is_checked(store):
    stored = store.put("working/a.tar", b"hello")
    assert store.get("working/a.tar", stored.sha256) == b"hello"
    with pytest.raises(ObjectDamagedError):
        store.get("working/a.tar", "0" * 64)


def test_a_large_file_moves_in_and_streams_out(store, tmp_path):
    file = tmp_path / "big"
    file.write_bytes(bytes(range(256)) * 50_000)
    stored = store.put_file("originals/b", file)
    assert not file.exists()
    fetched = store.fetch("originals/b", tmp_path / "fetched", stored.sha256)
    assert fetched.stat().st_size == stored.size_bytes == 12_800_000


def test_objects_are_replaced_found_and_deleted(store):
    store.put("results/a.1.json", b"one")
    store.put("results/a.1.json", b"two!")
    assert store.head("results/a.1.json").size_bytes == 4
    assert [found.key for found in store.list("results")] == ["results/a.1.json"], "keys are below the prefix"
    store.delete("results/a.1.json")
    store.delete("results/a.1.json")
    assert store.head("results/a.1.json") is None
    with pytest.raises(ObjectMissingError):
        store.get("results/a.1.json")


def test_a_bundle_is_brought_from_an_archive_and_from_objects_below_a_folder(store, tmp_path):
    store.put("models/one/manifest.json", b"{}")
    store.put("models/one/heads/brain_age.onnx", b"age")
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as packed:
        packed.writestr("one/manifest.json", "{}")
        packed.writestr("one/heads/brain_age.onnx", b"age")
    store.put("models/one.zip", (tmp_path / "one.zip").read_bytes())
    for number, source in enumerate(("s3://med3d/below/models/one", "s3://med3d/below/models/one.zip")):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        folder = fetch_bundle(source, scratch)
        found = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        assert found == ["heads/brain_age.onnx", "manifest.json"]
    with pytest.raises(CommandError, match=r"no such object.*AWS_"):
        fetch_bundle("s3://med3d/below/models/two.zip", tmp_path)
    with pytest.raises(CommandError, match="holds nothing there"):
        fetch_bundle("s3://med3d/below/models/two", tmp_path)
    with pytest.raises(CommandError, match="more than 1 objects"):
        fetch_bundle("s3://med3d/below/models/one", tmp_path / "3", BundleLimits(files=1))


def test_a_store_elsewhere_has_no_local_paths_and_reserves_nothing(store):
    assert store.local_path("a") is None
    assert store.reserve(["a"]) is None


def test_the_readiness_check_writes_reads_and_removes(store):
    store.check()
    assert list(store.list("checks")) == []


def test_a_tensor_survives_the_way_through_s3(store):
    cache, key = TensorCache(store), tensor_key("i" * 64, "p" * 64)
    assert cache.find(key) is None
    kept = cache.keep(key, RECORD)
    assert (cache.load(kept).tensor == RECORD.tensor).all()
    assert cache.find(key)[1] == kept


def test_a_bucket_that_is_not_there_is_a_store_error(store):
    with pytest.raises(StoreError):
        ObjectStore.open("s3://nobody/below").check()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = dcmtk.certificates(tmp_path_factory.mktemp("certificates"))
    dcmtk.certificates(made / "others")
    return made


@pytest.fixture
def over_tls(endpoint, account, certificates):
    """Sets the environment to an S3 with a certificate of this authority."""
    with tls_front(int(endpoint.rsplit(":", 1)[1]), certificates) as port:
        account.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{port}")
        yield account


def test_over_tls_objects_come_back_where_the_authority_is_trusted(over_tls, certificates, tmp_path):
    over_tls.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    store = ObjectStore.open("s3://med3d/below")
    store.check()
    file = tmp_path / "big"
    file.write_bytes(bytes(range(256)) * 30_000)
    stored = store.put_file("originals/over-tls", file)
    assert store.fetch("originals/over-tls", tmp_path / "back", stored.sha256).stat().st_size == stored.size_bytes


def test_nothing_is_given_to_a_store_that_is_not_trusted(over_tls, certificates):
    over_tls.setenv("SSL_CERT_FILE", str(certificates / "others" / "ca.pem"))
    with pytest.raises(StoreError):
        ObjectStore.open("s3://med3d/below").put("originals/a", b"secret")


def test_nothing_is_sent_in_the_clear_unless_that_is_allowed(account):
    with pytest.raises(StoreError):
        ObjectStore.open("s3://med3d/below").put("originals/a", b"secret")
