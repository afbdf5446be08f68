"""Where `med3d bundle get` brings a bundle from: a folder or an archive, on this disk, behind a URL or in a store."""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import SplitResult, unquote, urlsplit

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_contract.sent_files.archives import ArchiveRefused, UnpackMeter, is_named_like_archive, unpack
from med3d_contract.sent_files.content import Content
from med3d_contract.sent_files.unpacking import content_of

LARGEST_MANIFEST_BYTES = 1024**2
DEEPEST_FOLDER = 32
"""What removes a folder afterwards goes down it call by call."""
TIMEOUT = httpx.Timeout(30.0, read=60.0)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class BundleLimits:
    """More than any bundle holds: what brings more is none."""

    unpacked_bytes: int = 4 * 1024**3
    unpack_ratio: float = 100.0
    files: int = 1000


def fetch_bundle(source: str, scratch: Path, limits: BundleLimits | None = None) -> Path:
    """Return the folder of the bundle that ``source`` names: the folder itself, or what was brought into ``scratch``.

    Nothing of it is believed yet: who opens it looks at digests and signature. Raises CommandError.
    """
    limits = limits or BundleLimits()
    try:
        url = urlsplit(source)
    except ValueError as error:
        raise CommandError(f"{error}; SOURCE is a folder, an archive, or a URL of one") from error
    shown = _shown(url) if "://" in source else source
    with _faults_told(shown):
        place = _bring(source, url, shown, scratch / "sent", limits)
        return _bundle_in(place if place.is_dir() else _unpack(place, scratch / "unpacked", limits), shown)


def _bring(source: str, url: SplitResult, shown: str, place: Path, limits: BundleLimits) -> Path:
    """Return the folder or archive on this disk; what lies elsewhere is written to ``place``."""
    if "://" not in source:
        return Path(source)
    if url.scheme in {"http", "https"}:
        return _write(place, _downloaded(source, shown), limits)
    if url.scheme == "s3":
        return _from_store(url, shown, place, limits)
    if url.scheme == "file" and url.netloc in {"", "localhost"}:
        return Path(unquote(url.path))
    raise CommandError(f"{shown}: a bundle comes from a folder, an archive, or a URL of https, s3 or file")


def _shown(url: SplitResult) -> str:
    """Write a URL without what may be secret in it: user, password, query. Raises CommandError."""
    try:
        port = url.port
    except ValueError as error:
        raise CommandError("the URL's port is no number; in a user or password / # ? @ are %2F %23 %3F %40") from error
    if port is not None and "@" in f"{url.path}{url.query}{url.fragment}":
        return f"{url.scheme}://..."  # a password, perhaps, that begins with digits and goes on behind a /
    return url._replace(netloc=url.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _bundle_in(folder: Path, shown: str) -> Path:
    """Return the folder with the manifest: this one, or the only one in it."""
    from med3d_pipeline.inference.manifest import MANIFEST

    found = [place for place in (folder, *sorted(folder.iterdir())) if (place / MANIFEST).is_file()]
    if not found:
        raise CommandError(f"{shown} holds no bundle: there is no {MANIFEST}")
    if found[0] != folder and len(found) > 1:
        raise CommandError(f"{shown} holds {len(found)} bundles: {', '.join(place.name for place in found)}; name one")
    if (found[0] / MANIFEST).stat().st_size > LARGEST_MANIFEST_BYTES:
        raise CommandError(f"{shown} holds no bundle: its {MANIFEST} is larger than {LARGEST_MANIFEST_BYTES >> 20} MiB")
    return found[0]


# --- from elsewhere ---


def _downloaded(url: str, shown: str) -> Iterator[bytes]:
    """Yield what a web server sends. Raises CommandError where it does not, or not the whole."""
    try:
        with _web_client() as client, client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            if not response.is_success:
                raise CommandError(f"{shown}: HTTP {response.status_code} {response.reason_phrase}".rstrip())
            if "," in response.headers.get("Content-Encoding", ""):  # each layer makes a thousand bytes of one
                raise CommandError(f"{shown} is sent packed more than once")
            with _progress_bar(int(response.headers.get("Content-Length", 0))) as count:
                for piece in response.iter_bytes():
                    yield piece
                    count(len(piece))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(f"{shown} cannot be fetched: {error or type(error).__name__}") from error


def _web_client() -> httpx.Client:
    """Return it, by what the environment says of proxies and authorities. Raises CommandError."""
    try:
        return httpx.Client(follow_redirects=True, timeout=TIMEOUT)
    except OSError as error:
        raise CommandError(f"the file of SSL_CERT_FILE cannot be used: {error.strerror}") from error
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise CommandError(
            "the proxy that the environment names cannot be asked: HTTPS_PROXY, HTTP_PROXY and ALL_PROXY are "
            "http://HOST:PORT, NO_PROXY is a list of hosts"
        ) from error


def _from_store(url: SplitResult, shown: str, place: Path, limits: BundleLimits) -> Path:
    """Copy an archive, or all objects below a folder, out of an S3 store into ``place``."""
    with extra("worker"):
        from med3d_store.object_store import ObjectStore, StoreError, checked_key
    folder, _, name = url.path.strip("/").rpartition("/")
    packed = is_named_like_archive(name)
    try:
        store = ObjectStore.open(f"s3://{url.netloc}/{folder if packed else url.path.strip('/')}".rstrip("/"))
        if packed:
            return _write(place, store.stream(name), limits)
        for number, entry in enumerate(store.list(), start=1):
            if number > limits.files:
                raise CommandError(f"{shown} holds more than {limits.files} objects: that is no bundle")
            file = place / checked_key(entry.key)
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, store.stream(entry.key), limits)
    except StoreError as error:
        raise CommandError(
            f"{shown}: {error}; it is asked by AWS_ENDPOINT_URL, AWS_REGION and the keys of AWS_"
        ) from error
    if not place.is_dir():
        raise CommandError(f"{shown}: the store holds nothing there")
    return place


def _write(path: Path, pieces: Iterable[bytes], limits: BundleLimits) -> Path:
    """Write a file, as far as a bundle may reach."""
    written = 0
    with path.open("wb") as file:
        for piece in pieces:
            written += len(piece)
            if written > limits.unpacked_bytes:
                raise CommandError(f"more than {limits.unpacked_bytes >> 30} GiB came: that is no bundle")
            file.write(piece)
    return path


@contextmanager
def _progress_bar(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show how much has come, where somebody looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Downloading", total=total_bytes or None)
        yield lambda size_bytes: progress.advance(task, size_bytes)


# --- archives ---


def _unpack(archive: Path, folder: Path, limits: BundleLimits) -> Path:
    if archive.exists() and not archive.is_file():
        raise ArchiveRefused("not_an_archive", "That is neither a folder nor a file.")
    content = content_of(archive)
    if content is Content.OTHER_ARCHIVE:
        raise ArchiveRefused("archive_unsupported")
    if not content.is_archive:
        raise ArchiveRefused("not_an_archive", "That is neither a folder nor an archive.")
    folder.mkdir()
    with ExitStack() as opened, archive.open("rb") as packed:
        unpack(packed, archive.stat().st_size, content, _FilesByName(folder, UnpackMeter(limits), opened))
    return folder


class _FilesByName:
    """Files of one archive by their own names, which ``unpack`` has seen to stay inside."""

    def __init__(self, folder: Path, meter: UnpackMeter, opened: ExitStack) -> None:
        self.meter = meter
        self._folder = folder
        self._opened = opened

    def open_file(self, name: str) -> BinaryIO:
        """Begin a file. Raises ArchiveRefused where something of that name is there."""
        inside = PurePosixPath(name.replace("\\", "/"))
        if len(inside.parts) > DEEPEST_FOLDER:
            raise ArchiveRefused("archive_unsupported", "The archive holds folders deeper than those of any bundle.")
        path = self._folder / inside
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return self._opened.enter_context(path.open("xb"))
        except (FileExistsError, NotADirectoryError) as error:
            raise ArchiveRefused("archive_truncated", f"The archive holds {name} twice.") from error


@contextmanager
def _faults_told(shown: str) -> Iterator[None]:
    """Say in one line, with where it came from, what cannot be read, unpacked or written."""
    try:
        yield
    except ArchiveRefused as refused:
        raise CommandError(f"{shown}: {refused.detail} {refused.remedy} ({refused.code})") from refused
    except OSError as error:
        if error.errno in _FULL:
            raise  # of the place that is written, not of the source
        raise CommandError(f"{shown}: {error.strerror or error}") from error
    except ValueError as error:
        raise CommandError(f"{shown}: {error}") from error
