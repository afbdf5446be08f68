"""What the values of settings may be that service and workers share, and what is said of one that may not be."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from med3d_contract.queues import PREDICT_QUEUE, PREPROCESS_QUEUE, PUBLISH_QUEUE
from med3d_contract.variables.names import PREFIX

BROKERS = ("redis", "rediss", "redis+socket", "memory")
PROVIDERS = ("auto", "tensorrt", "cuda", "openvino", "cpu")
WORKER_QUEUES = (PUBLISH_QUEUE, PREDICT_QUEUE, PREPROCESS_QUEUE)
_HIDDEN = ("secret", "key", "database_url", "broker_url")


def check_broker_url(url: str) -> None:
    """Raise ValueError unless ``url`` names a broker that workers and service can speak to."""
    if "://" not in url or url.split("://", 1)[0] not in BROKERS:
        raise ValueError("a broker is redis://HOST:PORT/0, rediss://HOST:PORT/0 (TLS) or redis+socket:///PATH")


def check_store_url(url: str) -> None:
    """Raise ValueError unless ``url`` names a store that can be opened."""
    parts = urlsplit(url)
    is_folder = parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path
    if not is_folder and not (parts.scheme == "s3" and parts.netloc):
        raise ValueError("a store is file:///folder or s3://bucket/prefix")


def check_words(text: str, allowed: tuple[str, ...]) -> None:
    """Raise ValueError unless ``text`` is of the words ``allowed``, separated by commas."""
    for word in (part.strip() for part in text.split(",") if part.strip()):
        if word not in allowed:
            raise ValueError(f"{word!r} is none of {', '.join(allowed)} (several by commas)")


def wrong_settings(error: ValidationError) -> str:
    """Name variable, value and what is wrong with it, for each; no value of a secret."""
    return "; ".join(each_wrong_setting(error))


def each_wrong_setting(error: ValidationError) -> Iterator[str]:
    """Name them one by one."""
    for one in error.errors():
        name = "_".join(str(part) for part in one["loc"][:1])
        what = one["msg"].removeprefix("Value error, ")
        if not name:
            yield what
        elif one["type"] == "missing":
            yield f"{PREFIX}{name.upper()} is not set"
        else:
            value = "" if any(part in name for part in _HIDDEN) else f"={one['input']}"
            yield f"{PREFIX}{name.upper()}{value}: {what}"


def missing_file(variable: str, path: Path) -> Iterator[str]:
    """Say that what a setting names is not there; nothing where it is, or where nobody here may look."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        yield f"{variable}={path}: there is no such file or folder"
    except OSError:
        return
