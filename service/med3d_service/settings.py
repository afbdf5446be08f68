"""What an operator may set: environment variables with the prefix ``MED3D_``, secrets also from files.

Any setting ``x`` may instead be read from the file that ``MED3D_X_FILE`` names (how Docker and Kubernetes hand over
secrets); its last line break does not count.
"""

import os
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from med3d_contract.variables.values import check_broker_url, check_store_url

GIB = 1024**3
MIB = 1024**2
DATABASES = ("postgresql:", "postgresql+", "sqlite:", "sqlite+")


def is_private(url: str) -> bool:
    """Tell whether nobody on the way can read or change what is said: HTTPS, or this very machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    host = parts.hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_everywhere(host: str) -> bool:
    """Tell whether to listen at ``host`` is to listen at every address, of IPv6 and IPv4, as the kernel takes ``::``.

    Python's own servers ask the kernel for IPv6 alone there.
    """
    try:
        return ip_address(host) == IPv6Address("::")
    except ValueError:
        return False


class SecretFiles(PydanticBaseSettingsSource):
    """Values from the files that ``MED3D_*_FILE`` name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Read the file that ``MED3D_<FIELD>_FILE`` names; None where that is not set."""
        del field
        path = os.environ.get(f"MED3D_{field_name.upper()}_FILE")
        return (Path(path).read_text().rstrip("\r\n") if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all values that were found."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def _require_address(word: str) -> None:
    try:
        ip_network(word, strict=False)
    except ValueError as error:
        raise ValueError(f"{word!r} is no address and no network such as 10.0.0.0/8 (several by commas)") from error


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "med3d"


class Settings(BaseSettings):
    """Settings of the service's processes. The defaults are the embedded ones: one machine, one folder."""

    model_config = SettingsConfigDict(env_prefix="MED3D_", frozen=True, extra="ignore")

    data_dir: Path = Field(default_factory=_default_data_dir, description="everything that is kept lies below it")
    database_url: SecretStr | None = Field(None, description="SQLAlchemy URL; default: SQLite in data_dir")
    broker_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="redis://, rediss://, redis+socket://"
    )
    store_url: str | None = Field(None, description="file:///folder or s3://bucket/prefix; default: data_dir/store")
    site_key: SecretStr | None = Field(
        None, description="64 hex digits that all keys derive from; default: data_dir/site.key, made at first start"
    )
    identifier_keys: SecretStr | None = Field(
        None, description="64 hex digits a line, newest first, for the identifiers; default: derived from the site key"
    )
    site: str = Field("default", description="whose studies these are; identity of studies is per site")

    host: str = Field("127.0.0.1", description="address that the API listens on; :: is every one, of IPv6 and of IPv4")
    port: int = Field(8000, ge=0, le=65535, description="port that the API listens on")
    tls_cert: Path | None = Field(None, description="PEM chain of the API; with the next one, HTTPS only")
    tls_key: Path | None = Field(None, description="its private key, PEM")

    requests_per_minute: int = Field(12_000, ge=0, description="of one key or token, in one API process; 0: no limit")
    parallel_requests: int = Field(64, ge=0, description="of one key or token at once, in one API process; 0: no limit")
    failed_keys_per_minute: int = Field(
        60, ge=0, description="keys that open nothing, from one address; then it gets 429"
    )
    session_idle_s: float = Field(3600.0, gt=0, description="a browser not used for so long must sign in again")
    session_longest_s: float = Field(12 * 3600.0, gt=0, description="after so long it must sign in again in any case")
    connections: int = Field(1024, ge=8, description="open at once; when full, who has shown no key makes room")
    connections_per_address: int = Field(256, ge=1, description="of one address; trusted proxies have no such limit")
    head_s: float = Field(10.0, gt=0, description="a request whose head is not whole after so long is ended")
    body_grace_s: float = Field(10.0, gt=0, description="so long a body may keep us waiting, and longer as it comes")
    body_bytes_per_s: float = Field(8192.0, gt=0, description="each so many bytes of a body are a second of waiting")
    body_longest_s: float = Field(3600.0, gt=0, description="longest that one body may keep us waiting in all")
    answer_stall_s: float = Field(60.0, gt=0, description="an answer of which nothing is taken for so long is ended")
    trusted_proxies: str = Field("", description="addresses whose X-Forwarded-For is believed, by commas")

    alive_file: Path | None = Field(
        None, description="touched every few seconds by a process that goes round, for the health checks of containers"
    )

    audit_syslog_url: str | None = Field(
        None, description="udp://, tcp:// or tls://HOST[:PORT] that gets the audit trail"
    )
    audit_syslog_ca_file: Path | None = Field(None, description="PEM of who signed that receiver's certificate")

    oidc_issuer: str | None = Field(None, description="whose OpenID Connect tokens are taken beside API keys")
    oidc_audience: str | None = Field(None, description="whom those tokens must be for; goes with the issuer")
    oidc_jwks_url: str | None = Field(None, description="default: as the issuer's discovery document says")
    oidc_ca_file: str | None = Field(None, description="PEM of who signed the issuer's certificate")
    oidc_allow_insecure: bool = Field(False, description="take keys of an issuer by http://, from whoever answers")
    oidc_roles_claim: str = Field("roles", description="claim with the roles; dots lead into objects")
    oidc_role_prefix: str = Field("", description="what the roles' names begin with in that claim")
    oidc_site_claim: str | None = Field(None, description="claim with the site whose studies are seen; default: all")
    oidc_client_id: str | None = Field(None, description="the pages' client at the issuer: people sign in there")
    oidc_client_secret: SecretStr | None = Field(None, description="of that client, unless it is a public one")
    oidc_scopes: str = Field("openid profile", description="what the pages ask the issuer for")

    peers_file: Path | None = Field(None, description="TOML with the DICOM nodes to pull from and to deliver to")

    bundle_dirs: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="bundle folders, separated as in PATH; workers' own are added when they say hello"
    )
    default_bundle: str | None = Field(None, description="name, name@version or digest; default: the first known")

    explanations: bool = Field(True, description="workers explain a run's number when somebody asks for it")
    deface: bool = Field(False, description="volumes of heads are given out without the face; set it for workers, too")

    max_upload_bytes: int = Field(4 * GIB, ge=0, description="of one request")
    max_unpacked_bytes: int = Field(16 * GIB, ge=0, description="of one request's archives")
    max_unpack_ratio: float = Field(
        100.0, ge=0, description="unpacked to packed bytes, looked at above 64 MiB unpacked"
    )
    max_files: int = Field(50_000, ge=0, description="files of one request, in and out of archives")

    dicom_host: str = Field(
        "127.0.0.1", description="where the DICOM listener listens; :: is every address, of IPv6 and of IPv4"
    )
    dicom_port: int = Field(11112, ge=0, le=65535, description="0 picks a free one, told in the log")
    dicom_allowed: Annotated[tuple[str, ...], NoDecode] = Field(
        ("*@127.0.0.1", "*@::1"), description="who may send: AE_TITLE@ADDRESS or AE_TITLE@NETWORK/BITS, by commas"
    )
    ae_titles_file: Path | None = Field(
        None, description="TOML with our AE titles, their sites, rules and senders; default: any title, all the same"
    )
    dicom_tls_cert: Path | None = Field(None, description="PEM chain of the listener; with the next two, TLS only")
    dicom_tls_key: Path | None = Field(None, description="private key of the listener's certificate (PEM)")
    dicom_tls_client_ca: Path | None = Field(None, description="PEM of who signs the senders' certificates")
    dicom_idle_s: float = Field(60.0, ge=0, description="an association on which nothing comes for so long is ended")
    dicom_associations: int = Field(64, ge=1, description="open at the same time")
    dicom_associations_per_address: int = Field(32, ge=1, description="of one address at the same time")

    hl7_port: int | None = Field(
        None, ge=0, le=65535, description="takes ADT messages by MLLP there; default: nowhere; 0 picks one"
    )
    hl7_host: str = Field(
        "127.0.0.1", description="where ADT messages are taken; :: is every address, of IPv6 and of IPv4"
    )
    hl7_allowed: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="who may send them: APPLICATION@ADDRESS or APPLICATION@NETWORK/BITS, by commas; default: nobody"
    )
    hl7_authority: str = Field(
        "", description="assigning authority (PID-3.4) of the PatientIDs of images that name no issuer; default: any"
    )
    hl7_sites: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="whose studies ADT messages correct, by commas; default: MED3D_SITE"
    )
    hl7_merges_days: float = Field(
        30.0, ge=0, description="so long a merge (A40, A47) counts for images that come after it; 0: not at all"
    )
    hl7_tls_cert: Path | None = Field(None, description="PEM chain; with the next two, MLLP over TLS only")
    hl7_tls_key: Path | None = Field(None, description="private key of that certificate (PEM)")
    hl7_tls_client_ca: Path | None = Field(None, description="PEM of who signs the senders' certificates")
    hl7_connections: int = Field(8, ge=1, description="open at the same time")
    hl7_message_bytes: int = Field(1 * MIB, ge=0, description="of one message; a longer one ends its connection")
    hl7_idle_s: float = Field(3600.0, gt=0, description="a connection on which nothing comes for so long is ended")

    max_instance_bytes: int = Field(2 * GIB, ge=0, description="of one DICOM instance that arrives by itself")
    reserve_bytes: int = Field(512 * MIB, ge=0, description="images are turned away while less than this is free")
    rules_file: Path | None = Field(None, description="TOML with the routing rules; default: every MR image is wanted")
    quiet_s: float = Field(60.0, ge=0, description="a study is stable when nothing came for so long")
    t1_wait_s: float = Field(7200.0, ge=0, description="so long a stable study without a usable T1 waits for one")

    lease_s: float = Field(30.0, ge=0, description="a stage is lost when its worker is silent for so long")
    max_tries: int = Field(3, ge=1, description="losses and retryable faults of one stage before a run has failed")
    redispatch_s: float = Field(
        10.0, ge=0, description="a run that waits so long while its queue is empty is sent again"
    )
    cohort_ahead: int = Field(
        256, ge=0, description="runs of a cohort that wait at once; the others are made as these go"
    )
    sweep_s: float = Field(1.0, ge=0, description="pause of the scheduler between sweeps")
    leftover_s: float = Field(3600.0, ge=0, description="what abandoned uploads left is removed after so long")
    scale_target_s: float = Field(
        600.0, gt=0, description="what waits shall be worked off within so long: med3d_queue_desired_workers"
    )
    ready_fresh_s: float = Field(2.0, ge=0, description="/readyz looks at the parts no more often than this")
    worker_silent_s: float = Field(20.0, ge=0, description="a worker not heard of for so long is not alive")

    ledger_every_s: float = Field(86400.0, ge=0, description="pause between checks of the ledger; 0: none by itself")
    ledger_patience_s: float = Field(86400.0, ge=0, description="what waits for so long is told by the ledger")

    retain_input_days: float | None = Field(
        None, gt=0, description="originals and working copies of answered studies; default of all five: for ever"
    )
    retain_tensor_days: float | None = Field(None, gt=0, description="preprocessed tensors and their pictures")
    retain_latent_days: float | None = Field(None, gt=0, description="latent coordinates in stored results")
    retain_result_days: float | None = Field(None, gt=0, description="answered studies as a whole: erased then")
    retain_audit_days: float | None = Field(None, gt=0, description="entries of the audit trail")
    retention_every_s: float = Field(3600.0, gt=0, description="pause between sweeps of what was kept long enough")

    deliveries_file: Path | None = Field(None, description="TOML that says which answers go where; default: nowhere")
    delivery_first_s: float = Field(2.0, ge=0, description="pause after the first fault of a delivery; it doubles")
    delivery_longest_s: float = Field(300.0, ge=0, description="longest pause between two tries of a delivery")
    delivery_give_up_s: float = Field(3 * 86400.0, ge=0, description="a delivery that fails for so long is dead")
    delivery_lease_s: float = Field(
        120.0, ge=0, description="a delivery whose sender is silent for so long is sent again"
    )
    delivery_commitment_s: float = Field(
        3600.0, ge=0, description="an object whose commitment was asked for and not given for so long is sent again"
    )
    deliverer_poll_s: float = Field(
        0.25, ge=0, description="how often a deliverer with nothing to do looks, in seconds"
    )

    pull_first_s: float = Field(2.0, ge=0, description="pause after a peer's first fault; it doubles")
    pull_longest_s: float = Field(300.0, ge=0, description="longest pause between two tries of a pull")
    pull_give_up_s: float = Field(86400.0, ge=0, description="a pull that its peer fails for so long has failed")
    pull_lease_s: float = Field(120.0, ge=0, description="a pull whose fetcher is silent for so long goes to another")
    hook_age_s: float = Field(300.0, ge=0, description="a hook's call is heeded while its timestamp is no further off")
    fetcher_poll_s: float = Field(0.05, ge=0, description="how often a fetcher with nothing to do looks, in seconds")

    images_character_set: Literal[
        "",
        "ISO_IR 13",
        "ISO_IR 100",
        "ISO_IR 101",
        "ISO_IR 109",
        "ISO_IR 110",
        "ISO_IR 126",
        "ISO_IR 127",
        "ISO_IR 138",
        "ISO_IR 144",
        "ISO_IR 148",
        "ISO_IR 166",
        "ISO_IR 192",
        "GB18030",
    ] = Field(
        "", description="of text beyond ASCII in images that state none; default: what is not UTF-8 shows as damaged"
    )

    courier_poll_s: float = Field(0.05, ge=0, description="how often a courier with nothing to do looks, in seconds")
    courier_memory_bytes: int = Field(4 * GIB, ge=0, description="address space of the child that parses a study")
    courier_cpu_s: int = Field(300, ge=1, description="CPU time of that child for one study, in seconds")
    courier_timeout_s: float = Field(600.0, ge=0, description="time of that child for one study, in seconds")

    @field_validator("bundle_dirs", mode="before")
    @classmethod
    def _split_as_path(cls, value: object) -> object:
        return tuple(Path(part) for part in value.split(os.pathsep) if part) if isinstance(value, str) else value

    @field_validator("dicom_allowed", "hl7_allowed", "hl7_sites", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("store_url")
    @classmethod
    def _is_a_store(cls, value: str | None) -> str | None:
        if value is not None:
            check_store_url(value)
        return value

    @field_validator("broker_url")
    @classmethod
    def _is_a_broker(cls, value: SecretStr) -> SecretStr:
        check_broker_url(value.get_secret_value())
        return value

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(DATABASES):
            raise ValueError("a database is postgresql://USER@HOST/NAME or sqlite:////PATH")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        for word in (part.strip() for part in value.split(",")):
            if word and word != "*":
                _require_address(word)
        return value

    @field_validator("audit_syslog_url")
    @classmethod
    def _is_a_receiver(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "udp://none")
        if parts.scheme not in {"udp", "tcp", "tls"} or not parts.hostname:
            raise ValueError("a receiver is udp://, tcp:// or tls://HOST[:PORT]")
        return value

    @model_validator(mode="after")
    def _certificate_with_key(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("MED3D_TLS_CERT and MED3D_TLS_KEY go together: set both or neither")
        return self

    @model_validator(mode="after")
    def _issuer_with_audience(self) -> "Settings":
        if (self.oidc_issuer is None) != (self.oidc_audience is None):
            raise ValueError("MED3D_OIDC_ISSUER and MED3D_OIDC_AUDIENCE go together: no token for others opens this")
        if self.oidc_client_id is not None and self.oidc_issuer is None:
            raise ValueError("MED3D_OIDC_CLIENT_ID needs MED3D_OIDC_ISSUER: who else would know the client?")
        if "openid" not in self.oidc_scopes.split():
            raise ValueError("MED3D_OIDC_SCOPES must name openid: without it there is no ID token")
        return self

    @model_validator(mode="after")
    def _issuer_by_tls(self) -> "Settings":
        for name in ("oidc_issuer", "oidc_jwks_url"):
            url = getattr(self, name)
            if url is not None and not self.oidc_allow_insecure and not is_private(url):
                raise ValueError(
                    f"MED3D_{name.upper()} is http://: whoever is on the way could make tokens; use https://, or set "
                    "MED3D_OIDC_ALLOW_INSECURE=true"
                )
        return self

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in use."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'med3d.sqlite'}"

    @property
    def store(self) -> str:
        """The store's URL in use."""
        return self.store_url or f"file://{(self.data_dir / 'store').absolute()}"

    @property
    def spool_dir(self) -> Path:
        """Local scratch of uploads under way, encrypted."""
        return self.data_dir / "spool"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Ask arguments first, then the environment, then files."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, SecretFiles(settings_cls)
