"""Who vouches for a model: signatures, trusted keys, and what is loaded without."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from med3d_cli.errors import CommandError
from med3d_cli.main import make_app
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.bundle.bundle_signature import (
    SIGNATURE,
    TrustedKeys,
    make_signing_key,
    read_signing_key,
    sign_bundle,
)
from med3d_pipeline.errors import BundleError
from med3d_worker.model.loaded_model import load_model
from med3d_worker.settings import BundleSettings

SHIPPED = Path(__file__).parents[3] / "model_export" / "bundles" / "infovae-two-sites"


@pytest.fixture
def folder(tmp_path):
    """A manifest to sign; what it says is another test's matter."""
    place = tmp_path / "bundle"
    place.mkdir()
    (place / "manifest.json").write_bytes(b'{"name": "some"}\n')
    return place


@pytest.fixture
def bundle_copy(tmp_path):
    return Path(shutil.copytree(SHIPPED, tmp_path / "bundle"))


def new_key(place, name="site"):
    """A private key, and the file of its public half."""
    public = make_signing_key(place / f"{name}.pem")
    return read_signing_key(place / f"{name}.pem"), public


def signer(folder, *places):
    return TrustedKeys.read(*places).require((folder / "manifest.json").read_bytes(), folder)


def test_the_shipped_bundle_is_signed_by_the_key_that_the_project_ships():
    assert signer(SHIPPED) == "infovae-med3d-7"


def test_no_private_key_is_in_the_repository():
    root = SHIPPED.parents[2]
    keys = [file for part in ("worker", "service", "model_export", "deploy") for file in (root / part).rglob("*.pem")]
    assert keys, "the public one is among them"
    for file in keys:
        assert "PRIVATE KEY" not in file.read_text(), file.name


def test_a_bundle_is_trusted_that_any_trusted_key_signed(folder, tmp_path):
    (old, _), (new, _) = new_key(tmp_path, "old"), new_key(tmp_path, "new")
    for key, name in ((old, "old"), (new, "new")):
        sign_bundle(folder, key)
        assert signer(folder, tmp_path) == name


def test_a_signature_of_another_key_is_told_from_none(folder, tmp_path):
    key, public = new_key(tmp_path)
    with pytest.raises(BundleError, match=r"^bundle_unsigned: .*MED3D_BUNDLE_KEYS"):
        signer(folder, public)
    sign_bundle(folder, key)
    (tmp_path / "other").mkdir()
    with pytest.raises(BundleError, match=r"^bundle_signature_invalid: no trusted key \(strange\)"):
        signer(folder, new_key(tmp_path / "other", "strange")[1])


@pytest.mark.parametrize("spoilt", [b"", b"x" * 64, b"x" * 4096])
def test_what_is_no_signature_vouches_for_nothing(folder, tmp_path, spoilt):
    (folder / SIGNATURE).write_bytes(spoilt)
    with pytest.raises(BundleError, match="bundle_signature_invalid"):
        signer(folder, new_key(tmp_path)[1])


def test_a_changed_byte_of_the_manifest_ends_the_signature(folder, tmp_path):
    key, public = new_key(tmp_path)
    sign_bundle(folder, key)
    (folder / "manifest.json").write_bytes(b'{"name": "same"}\n')
    with pytest.raises(BundleError, match="bundle_signature_invalid"):
        signer(folder, public)


def test_openssl_checks_what_we_sign(folder, tmp_path):
    key, public = new_key(tmp_path)
    sign_bundle(folder, key)
    words = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public, "-in", "manifest.json", "-sigfile", SIGNATURE]
    subprocess.run(["openssl", *map(str, words)], cwd=folder, check=True, capture_output=True)


def test_a_key_is_its_owners_and_never_replaces_another(tmp_path):
    make_signing_key(tmp_path / "site.pem")
    assert stat.S_IMODE((tmp_path / "site.pem").stat().st_mode) == 0o600
    before = (tmp_path / "site.pem").read_bytes(), (tmp_path / "site.pub.pem").read_bytes()
    with pytest.raises(FileExistsError):
        make_signing_key(tmp_path / "site.pem")
    (tmp_path / "site.pub.pem").rename(tmp_path / "kept")
    with pytest.raises(FileExistsError):
        make_signing_key(tmp_path / "site.pem")
    assert (before[0], before[1]) == ((tmp_path / "site.pem").read_bytes(), (tmp_path / "kept").read_bytes())
    assert not (tmp_path / "site.pub.pem").exists(), "no half of a key that was not made"


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\n"])
def test_what_is_no_key_is_named(tmp_path, content):
    file = tmp_path / "some.pub.pem"
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"some\.pub\.pem is no public key"):
        TrustedKeys.read(tmp_path)
    with pytest.raises(BundleError, match="no Ed25519 private key"):
        read_signing_key(file)


def test_a_folder_without_keys_trusts_nobody_and_says_so(tmp_path):
    with pytest.raises(BundleError, match="no trusted key"):
        TrustedKeys.read(tmp_path)


def test_an_altered_file_is_found_before_its_signature_is_asked_for(bundle_copy):
    (bundle_copy / "LICENSE").write_text("mine")
    (bundle_copy / SIGNATURE).unlink()
    with pytest.raises(BundleError, match="LICENSE of the bundle has been altered"):
        Bundle.open(bundle_copy, trusted=TrustedKeys.read())


def test_an_unsigned_bundle_loads_only_where_that_is_configured(bundle_copy, monkeypatch):
    (bundle_copy / SIGNATURE).unlink()
    with pytest.raises(BundleError, match="bundle_unsigned"):
        load_model(BundleSettings(bundle=bundle_copy), prove=False)
    monkeypatch.setenv("MED3D_ALLOW_UNTRUSTED_BUNDLE", "true")
    assert load_model(BundleSettings(bundle=bundle_copy), prove=False).reference.name == "infovae-two-sites"


def test_a_site_signs_a_bundle_with_its_own_key_and_trusts_that_alone(bundle_copy, tmp_path, monkeypatch):
    invoke("keygen", str(tmp_path / "site.pem"))
    invoke("sign", str(bundle_copy), "--key", str(tmp_path / "site.pem"))
    with pytest.raises(CommandError, match="bundle_signature_invalid"):
        invoke("verify", str(bundle_copy))
    monkeypatch.setenv("MED3D_BUNDLE_KEYS", str(tmp_path))
    assert "signed by the key site" in invoke("verify", str(bundle_copy))
    with pytest.raises(CommandError, match="bundle_signature_invalid"):
        invoke("verify", str(SHIPPED))


def invoke(*words):
    done = CliRunner().invoke(make_app(), ["bundle", *words])
    if isinstance(done.exception, CommandError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_signature_that_cannot_be_put_in_place_leaves_nothing_beside_it(folder, tmp_path):
    make_signing_key(tmp_path / "key.pem")
    (folder / SIGNATURE).mkdir()
    with pytest.raises(OSError, match="directory"):
        sign_bundle(folder, read_signing_key(tmp_path / "key.pem"))
    assert {path.name for path in folder.iterdir()} == {"manifest.json", SIGNATURE}
