"""The peers of a site, read from TOML and judged when a process starts.

``[dicomweb.NAME]`` and ``[dimse.NAME]`` tables; the same name may stand in both. Secrets are never in the file itself:
``{file = "..."}`` (relative to the TOML file) or ``{env = "..."}``.
"""

import os
import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic.networks import HttpUrl

from med3d_service.network.peers.ae_titles import read_ae_title
from med3d_service.problems import ServiceError
from med3d_service.settings import is_private

MIN_SECRET_CHARACTERS = 32
P = TypeVar("P")
PeerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
AeTitle = Annotated[str, AfterValidator(read_ae_title)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?$")]


class ConfigurationError(Exception):
    """The peers' file cannot be used; says in one line which setting is wrong and why."""


def _beside_the_file(value: object, info: ValidationInfo) -> object:
    folder = (info.context or {}).get("folder")
    return folder / value if folder is not None and isinstance(value, str) else value


def _read_secret(value: object, info: ValidationInfo) -> object:
    """Return ``{file = PATH}`` or ``{env = NAME}`` as what it holds."""
    match value:
        case {"file": str(path), **rest} if not rest:
            found = _beside_the_file(path, info)
            assert isinstance(found, str | Path)
            try:
                return Path(found).read_text().rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"the secret's file cannot be read ({type(error).__name__})") from error
        case {"env": str(name), **rest} if not rest:
            if not os.environ.get(name):
                raise ValueError(f"the environment variable {name} is not set")
            return os.environ[name]
        case SecretStr():
            return value
        case _:
            raise ValueError('a secret is given as {file = "PATH"} or {env = "NAME"}')


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < MIN_SECRET_CHARACTERS:
        raise ValueError(f"a secret that signs must have {MIN_SECRET_CHARACTERS} characters or more")
    return secret


Secret = Annotated[SecretStr, BeforeValidator(_read_secret)]
SigningSecret = Annotated[Secret, AfterValidator(_long_enough)]
ExistingFile = Annotated[FilePath, BeforeValidator(_beside_the_file)]


class Configured(BaseModel):
    """A table of the file: an unknown key is a spelling mistake, not an option."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Tls(Configured):
    """TLS to a peer: who must have signed its certificate, and what we show of ourselves."""

    ca_file: ExistingFile | None = None
    certificate_file: ExistingFile | None = None
    key_file: ExistingFile | None = None

    @model_validator(mode="after")
    def _can_be_loaded(self) -> "Tls":
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        try:
            self.context()
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"the certificates cannot be loaded ({type(error).__name__})") from error
        return self

    def context(self) -> ssl.SSLContext:
        """Return a client's context that verifies the peer, host name included."""
        context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        if self.certificate_file is not None and self.key_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


class OrthancHooks(Configured):
    """What is possible with a peer that is an Orthanc: its hook calls us, and we read its log of changes."""

    rest_url: HttpUrl
    hook_secret: SigningSecret
    follow_changes_s: Annotated[float, Field(ge=0.5, le=3600)] = 60.0
    take_back: bool = True
    """Remove there what we filed under a patient who was corrected since."""

    @property
    def base_url(self) -> str:
        """The REST API's root without a trailing slash."""
        return str(self.rest_url).rstrip("/")


class OfSites(Configured):
    """``sites``: whose callers may use and see the peer; what it tells by itself is the first one's. None: all."""

    sites: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] = ()

    def serves(self, site: str | None) -> bool:
        """Tell whether callers of ``site`` may use it; None are those who see every site."""
        return site is None or not self.sites or site in self.sites

    def own_site(self, default: str) -> str:
        """Tell whose the studies are that it tells of by itself."""
        return self.sites[0] if self.sites else default


class HttpPeer(Configured):
    """What is reached by HTTP at one address, and how we show who we are."""

    url: HttpUrl
    user: Annotated[str, StringConstraints(min_length=1)] | None = None
    password: Secret | None = None
    bearer: Secret | None = None
    tls: Tls | None = None
    allow_insecure: bool = False
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0

    @field_validator("url")
    @classmethod
    def _is_bare(cls, url: HttpUrl) -> HttpUrl:
        if url.username or url.password or url.query or url.fragment:
            raise ValueError("the URL holds credentials, a query or a fragment; give user and password apart")
        return url

    @model_validator(mode="after")
    def _one_way_in(self) -> "HttpPeer":
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if self.user is not None and self.bearer is not None:
            raise ValueError("either user and password or bearer, not both")
        if (self.user or self.bearer) and not self.allow_insecure and not is_private(str(self.url)):
            raise ValueError("the password or bearer would go in the clear: use https://, or say allow_insecure = true")
        return self

    @property
    def base_url(self) -> str:
        """The root without a trailing slash."""
        return str(self.url).rstrip("/")

    @property
    def basic_auth(self) -> tuple[str, str] | None:
        """User and password for HTTP basic authentication."""
        if self.user is None or self.password is None:
            return None
        return self.user, self.password.get_secret_value()

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {} if self.bearer is None else {"Authorization": f"Bearer {self.bearer.get_secret_value()}"}

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """For an HTTP client: the context of ``tls``, else the usual authorities."""
        return True if self.tls is None else self.tls.context()


class DicomwebPeer(HttpPeer, OfSites):
    """A peer that speaks DICOMweb; ``url`` is the root below which ``/studies`` lies."""

    orthanc: OrthancHooks | None = None


class DimsePeer(OfSites):
    """A peer that speaks DIMSE. For C-MOVE it must know our listener as ``move_destination``."""

    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]
    ae_title: AeTitle
    calling_ae_title: AeTitle = "MED3D"
    retrieve: Literal["c-get", "c-move"] = "c-get"
    move_destination: AeTitle | None = None
    tls: Tls | None = None
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0

    @property
    def destination(self) -> str:
        """Whom the peer is asked to send to in a C-MOVE."""
        return self.move_destination or self.calling_ae_title


class Peers(Configured):
    """All peers, by name."""

    dicomweb: dict[PeerName, DicomwebPeer] = Field(default_factory=dict)
    dimse: dict[PeerName, DimsePeer] = Field(default_factory=dict)

    def dicomweb_peer(self, name: str) -> DicomwebPeer:
        """Find a DICOMweb peer. Raises ServiceError("unknown_peer")."""
        return _found(self.dicomweb, name)

    def dimse_peer(self, name: str) -> DimsePeer:
        """Find a DIMSE peer. Raises ServiceError("unknown_peer")."""
        return _found(self.dimse, name)

    def of_site(self, site: str | None) -> "Peers":
        """Return those that callers of ``site`` may use; the others do not exist for them."""
        return Peers(
            dicomweb={name: peer for name, peer in self.dicomweb.items() if peer.serves(site)},
            dimse={name: peer for name, peer in self.dimse.items() if peer.serves(site)},
        )

    @property
    def orthancs(self) -> dict[str, DicomwebPeer]:
        """The peers whose hook may call and whose changes are followed."""
        return {name: peer for name, peer in self.dicomweb.items() if peer.orthanc is not None}


def _found(peers: Mapping[str, P], name: str) -> P:
    if name not in peers:
        raise ServiceError("unknown_peer")
    return peers[name]


def load_peers(path: Path | None) -> Peers:
    """Read the peers' file; no peers for None. Raises ConfigurationError, which never quotes a value."""
    if path is None:
        return Peers()
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text("utf-8-sig"))
        return Peers.model_validate(tables, context={"folder": path.absolute().parent})
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the peers' file {path} cannot be read ({type(error).__name__})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the peers' file {path} is not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(f"the peers' file {path} is wrong: {wrong_settings(error)}") from error


def wrong_settings(error: ValidationError) -> str:
    """Say which settings of a file are wrong, and what is, without their values."""
    said = {"extra_forbidden": "there is no such setting", "missing": "it is missing"}
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {said.get(one['type'], one['msg'].removeprefix('Value error, '))}"
        for one in error.errors()
    )
