"""`med3d bundle get`: what is kept, what is refused, and that nothing stays behind of what is refused."""

import errno
import gzip
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from med3d_cli.errors import CommandError
from med3d_cli.main import make_app
from med3d_cli.operate.bundle_source import BundleLimits, fetch_bundle
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.bundle.bundle_signature import SIGNATURE
from med3d_pipeline.errors import BundleError

SHIPPED = Bundle.default_path()
NAME = f"{Bundle.open(SHIPPED, verify=False).name}-{Bundle.open(SHIPPED, verify=False).version}"


def get(*words):
    done = CliRunner().invoke(make_app(), ["bundle", "get", *map(str, words)])
    if isinstance(done.exception, CommandError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def folder(tmp_path):
    """Where bundles are brought to."""
    return tmp_path / "models"


@pytest.fixture
def changed(tmp_path):
    """A copy of the shipped bundle to spoil."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "changed"))


def in_tar(path, mode="w:gz", **files):
    with tarfile.open(path, mode) as packed:
        for name, file in files.items():
            packed.add(file, name)
    return path


def in_zip(path, source):
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(found for found in source.rglob("*") if found.is_file()):
            packed.write(file, file.relative_to(source))
    return path


@pytest.fixture
def served(tmp_path):
    """A web server's folder, and its URL."""
    root = tmp_path / "served"
    root.mkdir()
    handler = partial(_Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield root, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
        elif self.path.startswith("/cut/"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 100)
        elif self.path.startswith("/packed-twice/"):
            packed = gzip.compress(gzip.compress(b"x"))
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip, gzip")
            self.send_header("Content-Length", str(len(packed)))
            self.end_headers()
            self.wfile.write(packed)
        else:
            super().do_GET()

    def log_message(self, *words):
        """Say nothing."""


def test_an_archive_behind_a_url_becomes_a_bundle_without_what_its_manifest_does_not_list(served, folder, changed):
    root, url = served
    (changed / "more.onnx").write_bytes(b"more")
    in_tar(root / "some.tar.gz", infovae=changed)
    said = json.loads(get(f"{url}/moved/some.tar.gz", "--into", folder, "--json"))
    assert [entry.name for entry in folder.iterdir()] == [NAME]
    assert said["folder"] == str(folder / NAME)
    assert said["signed_by"] == "infovae-med3d-7"
    assert said["reference_case"].keys() >= {"tensor_nrmse", "brain_age_years"}
    kept, shipped = Bundle.open(folder / NAME), Bundle.open(SHIPPED)
    assert kept.digest == shipped.digest == said["digest"]
    assert not (folder / NAME / "more.onnx").exists()
    assert (folder / NAME).stat().st_mode & 0o055 == 0o055, "a worker is another user"


def test_what_is_there_already_is_as_good_and_another_bundle_is_never_replaced(folder):
    shutil.copytree(SHIPPED, folder / NAME)
    assert str(folder / NAME) in get(in_zip(folder.parent / "some.zip", SHIPPED), "--into", folder)
    (folder / NAME / "LICENSE").write_text("mine")
    with pytest.raises(CommandError, match="LICENSE of the bundle has been altered"):
        get(SHIPPED, "--into", folder)
    assert (folder / NAME / "LICENSE").read_text() == "mine"
    assert [entry.name for entry in folder.iterdir()] == [NAME]


def test_what_is_there_unsigned_is_not_as_good(folder):
    shutil.copytree(SHIPPED, folder / NAME)
    (folder / NAME / SIGNATURE).unlink()
    with pytest.raises(CommandError, match=r"no whole and signed bundle; move it away.*bundle_unsigned"):
        get(SHIPPED, "--into", folder)


def test_a_link_to_nowhere_in_its_place_is_named(folder):
    folder.mkdir()
    (folder / NAME).symlink_to("nowhere")
    with pytest.raises(CommandError, match=f"{NAME} is there and is no whole"):
        get(SHIPPED, "--into", folder)
    assert [entry.name for entry in folder.iterdir()] == [NAME]


@pytest.mark.parametrize("same", [True, False], ids=["the same", "another"])
def test_what_comes_to_its_place_meanwhile_is_looked_at(folder, monkeypatch, same):
    prove = Bundle.run_reference_case

    def prove_slowly(self):
        shutil.copytree(SHIPPED, folder / NAME)
        if not same:
            (folder / NAME / "LICENSE").write_text("mine")
        return prove(self)

    monkeypatch.setattr(Bundle, "run_reference_case", prove_slowly)
    if same:
        assert str(folder / NAME) in get(SHIPPED, "--into", folder)
    else:
        with pytest.raises(CommandError, match=f"{NAME} is there and is no whole"):
            get(SHIPPED, "--into", folder)
    assert [entry.name for entry in folder.iterdir()] == [NAME]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_stops_it_finds_nothing_left(tmp_path, folder, number):
    asked = threading.Event()
    let_go = threading.Event()

    class Stalling(_Quiet):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.flush()
            asked.set()
            let_go.wait(60)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stalling) as server:
        threading.Thread(target=server.serve_forever).start()
        command = [sys.executable, "-m", "med3d_cli", "bundle", "get", f"http://127.0.0.1:{server.server_port}/x.tar"]
        process = subprocess.Popen([*command, "--into", folder], stderr=subprocess.PIPE, text=True)
        try:
            assert asked.wait(60)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
            let_go.set()
            server.shutdown()
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda place: (place / SIGNATURE).unlink(), "bundle_unsigned"),
        (lambda place: (place / SIGNATURE).write_bytes(b"x" * 64), "bundle_signature_invalid"),
        (lambda place: (place / "encoder.onnx").write_bytes(b"x"), r"encoder\.onnx of the bundle has been altered"),
        (lambda place: (place / "encoder.onnx").unlink(), r"encoder\.onnx of the bundle is not there"),
        (lambda place: (place / "manifest.json").write_text("{}"), r"manifest\.json of the bundle is none"),
        (lambda place: (place / "manifest.json").unlink(), r"holds no bundle: there is no manifest\.json"),
    ],
    ids=["unsigned", "strange signature", "altered", "incomplete", "no manifest of ours", "no manifest"],
)
def test_what_is_not_whole_and_signed_is_not_kept(folder, changed, spoil, words):
    spoil(changed)
    with pytest.raises(CommandError, match=words):
        get(in_zip(folder.parent / "some.zip", changed), "--into", folder)
    assert list(folder.iterdir()) == []


def test_a_bundle_that_answers_otherwise_here_is_not_kept(folder, monkeypatch):
    def fail(self):
        raise BundleError("the reference case comes out otherwise")

    monkeypatch.setattr(Bundle, "run_reference_case", fail)
    with pytest.raises(CommandError, match="comes out otherwise"):
        get(SHIPPED, "--into", folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../evil", "archive_unsafe_path"),
        ("/tmp/evil", "archive_unsafe_path"),
        ("a\\..\\..\\evil", "archive_unsafe_path"),
    ],
)
def test_no_archive_writes_outside(tmp_path, folder, name, code):
    packed = tmp_path / "some.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, b"evil")
    with pytest.raises(CommandError, match=code):
        get(packed, "--into", folder)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["models", "some.zip"]


def test_a_link_in_an_archive_is_refused(tmp_path, folder):
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(CommandError, match="archive_unsafe_member"):
        get(in_tar(tmp_path / "some.tar", "w:", **{"manifest.json": tmp_path / "link"}), "--into", folder)


def test_one_name_twice_is_refused(tmp_path, folder, changed):
    with tarfile.open(tmp_path / "some.tar", "w") as packed:
        packed.add(changed, "a")
        packed.add(changed / "LICENSE", "a/LICENSE")
    with pytest.raises(CommandError, match="a/LICENSE twice"):
        get(tmp_path / "some.tar", "--into", folder)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/absent.tar.gz", "No such file"),
        ("{url}/absent.tar.gz", "HTTP 404"),
        ("{url}/cut/some.tar.gz", "cannot be fetched"),
        ("http://user:secret@127.0.0.1:1/some.tar.gz?token=secret", "cannot be fetched"),
        ("{url}/page.html", r"neither a folder nor an archive.*not_an_archive"),
        ("ftp://host/some.tar.gz", "https, s3 or file"),
        ("http://[", "SOURCE is a folder"),
        ("http://user:secret/word@127.0.0.1:1/some.tar.gz", "port is no number"),
        ("http://user:secret#word@127.0.0.1:1/some.tar.gz", "port is no number"),
        ("http://user:1secret?word@127.0.0.1:1/some.tar.gz", "port is no number"),
        ("http://127.0.0.1:1/secret@127.0.0.1/some.tar.gz", "http://... cannot be fetched"),
        ("s3://user:secret@bucket_/a//b?token=secret", r"s3://bucket_/a//b: it is no s3://bucket/prefix"),
        ("s3:///some?token=secret", r"s3:/some: it is no s3://bucket/prefix"),
        ("file:///a%00b", "null byte"),
        ("file://host/some.tar.gz", "https, s3 or file"),
        ("{url}/packed-twice/some.tar.gz", "packed more than once"),
    ],
)
def test_what_brings_no_bundle_says_so(served, folder, source, words):
    root, url = served
    (root / "page.html").write_text("<html>Please sign in.</html>" * 300)
    with pytest.raises(CommandError, match=words) as refused:
        get(source.format(url=url), "--into", folder)
    assert "secret" not in str(refused.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("limits", [BundleLimits(unpacked_bytes=2**20), BundleLimits(files=3)], ids=["bytes", "files"])
def test_what_no_bundle_would_hold_is_not_unpacked(tmp_path, limits):
    packed = in_zip(tmp_path / "some.zip", SHIPPED)
    with pytest.raises(CommandError, match=r"archive_bomb|too_many_files"):
        fetch_bundle(str(packed), tmp_path, limits)


def test_no_more_is_downloaded_than_a_bundle_holds(served, tmp_path):
    root, url = served
    (root / "large.tar").write_bytes(bytes(2**21))
    with pytest.raises(CommandError, match="that is no bundle"):
        fetch_bundle(f"{url}/large.tar", tmp_path, BundleLimits(unpacked_bytes=2**20))
    assert (tmp_path / "sent").stat().st_size <= 2**20


def test_two_bundles_in_one_archive_are_told_apart_by_the_user(tmp_path, folder, changed):
    packed = in_tar(tmp_path / "some.tar", "w:", a=changed, b=SHIPPED)
    with pytest.raises(CommandError, match="2 bundles: a, b"):
        get(packed, "--into", folder)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=r"file/models: Not a directory; nothing was kept"):
        get(SHIPPED, "--into", tmp_path / "file" / "models")


def test_what_cannot_be_read_is_named_as_it_is(folder, changed):
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["files"]["x" * 300] = "0" * 64
    (changed / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CommandError, match=r"x{300}: File name too long; nothing was kept"):
        get(changed, "--into", folder)


def test_folders_deeper_than_can_be_removed_are_refused(tmp_path, folder):
    with tarfile.open(tmp_path / "some.tar", "w") as packed:
        for depth in range(300, 2000, 300):
            packed.addfile(tarfile.TarInfo("a/" * depth + "file"))
    with pytest.raises(CommandError, match="deeper than those of any bundle"):
        get(tmp_path / "some.tar", "--into", folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path, folder, names):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as packed:
        for name in names:
            packed.writestr(name, b"x")
    with pytest.raises(CommandError, match=f"holds {names[1]} twice"):
        get(tmp_path / "some.zip", "--into", folder)


def test_a_manifest_of_a_thousand_faults_is_refused_by_a_few(folder, changed):
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["files"] = {str(number): "no digest" for number in range(1000)}
    (changed / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CommandError, match=r"manifest\.json of the bundle is none: files\.0: ") as refused:
        get(changed, "--into", folder)
    assert len(str(refused.value)) < 400


def test_a_manifest_that_fills_the_memory_is_not_read(folder, changed):
    os.truncate(changed / "manifest.json", 2**40)
    with pytest.raises(CommandError, match="larger than 1 MiB"):
        get(changed, "--into", folder)


def test_a_pipe_is_not_waited_for(tmp_path, folder):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CommandError, match="neither a folder nor a file"):
        get(tmp_path / "pipe", "--into", folder)


def test_a_full_disk_is_said_of_the_place_that_is_full(folder, monkeypatch):
    monkeypatch.setattr("med3d_cli.operate.bundle_source.unpack", _find_it_full)
    packed = in_zip(folder.parent / "some.zip", SHIPPED)
    with pytest.raises(CommandError, match=f"^{folder}: No space left on device; nothing was kept"):
        get(packed, "--into", folder)


def _find_it_full(*words):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HTTP_PROXY", "ftp://user:secret@127.0.0.1:1", "http://HOST:PORT"),
        ("HTTP_PROXY", "http://user:secret/word@127.0.0.1:1", "http://HOST:PORT"),
        ("NO_PROXY", "[::1", "list of hosts"),
        ("SSL_CERT_FILE", "/absent.pem", "SSL_CERT_FILE cannot be used: No such file"),
    ],
)
def test_what_the_environment_says_wrongly_of_the_network_is_named(folder, monkeypatch, name, value, words):
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.lower(), raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(CommandError, match=words) as refused:
        get("https://127.0.0.1:1/some.tar.gz", "--into", folder)
    assert "secret" not in str(refused.value)
