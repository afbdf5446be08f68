"""Where answers go: nowhere, until a file names peers with kinds of objects, or webhooks. Judged when a process starts.

``[[deliver]]`` tables name a peer of the peers' file; ``[webhooks.NAME]`` tables an address of their own.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic.networks import HttpUrl

from med3d_service.network.peers.configuration import (
    ConfigurationError,
    Configured,
    DicomwebPeer,
    DimsePeer,
    PeerName,
    Peers,
    SigningSecret,
    Tls,
    load_peers,
)
from med3d_service.results.kinds import Kind
from med3d_service.settings import Settings, is_private

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=300)]
ANSWERS: tuple[Literal["accepted", "review", "refused"], ...] = ("accepted", "review")
"""What goes to a peer that states nothing: a refusal is filed beside the images only where that is asked for."""
EVERY: tuple[Literal["accepted", "review", "refused"], ...] = (*ANSWERS, "refused")


class Filter(Configured):
    """Which answers go there: all that is stated must fit. Patterns are shell patterns; empty: any."""

    decisions: Annotated[tuple[Literal["accepted", "review", "refused"], ...], Field(min_length=1)] = ANSWERS
    sources: tuple[Pattern, ...] = ()
    """upload, or the way by which the study arrived: dimse, stow, orthanc, pull, folder"""
    sites: tuple[Pattern, ...] = ()
    rules: tuple[Pattern, ...] = ()
    """of one of the routing rules that wanted the study; one that no rule has judged fits none"""
    bundles: tuple[Pattern, ...] = ()
    """name@version"""

    def takes(self, answer: "Answer") -> bool:
        """Whether an answer goes there."""
        asked = (
            (self.sources, (answer.source,)),
            (self.sites, (answer.site,)),
            (self.rules, answer.rules),
            (self.bundles, (answer.bundle,)),
        )
        fits = all(
            any(fnmatchcase(text, pattern) for pattern in patterns for text in texts)
            for patterns, texts in asked
            if patterns
        )
        return fits and answer.decision in self.decisions


@dataclass(frozen=True)
class Answer:
    """What filters go by."""

    decision: str
    source: str
    site: str
    rules: tuple[str, ...]
    bundle: str


class PeerDelivery(Filter):
    """Which objects a peer gets. ``protocol`` is only needed where the peer has both."""

    peer: PeerName
    protocol: Literal["dimse", "dicomweb"] | None = None
    kinds: Annotated[tuple[Literal[Kind.SR, Kind.PDF, Kind.SC], ...], Field(min_length=1)]
    cohort: bool = False
    commitment: bool = False
    """Ask for storage commitment (DIMSE only): delivered is what the peer has promised to keep."""


class Webhook(Filter):
    """Who is told of an answer, and the secret that signs what is said."""

    decisions: Annotated[tuple[Literal["accepted", "review", "refused"], ...], Field(min_length=1)] = EVERY
    url: HttpUrl
    secret: SigningSecret
    cohort: bool = False
    tls: Tls | None = None
    allow_insecure: bool = False
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0

    @field_validator("url")
    @classmethod
    def _is_bare(cls, url: HttpUrl) -> HttpUrl:
        if url.username or url.password or url.fragment:
            raise ValueError("the URL holds credentials or a fragment; the signature says who calls")
        return url

    @model_validator(mode="after")
    def _by_tls(self) -> "Webhook":
        if not self.allow_insecure and not is_private(str(self.url)):
            raise ValueError("answers would go in the clear: use https://, or say allow_insecure = true")
        return self


class DeliveryTables(Configured):
    """The file."""

    deliver: tuple[PeerDelivery, ...] = ()
    webhooks: dict[PeerName, Webhook] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_peer_once(self) -> "DeliveryTables":
        named = [(one.peer, one.protocol) for one in self.deliver]
        if len(named) != len(set(named)):
            raise ValueError("a peer stands in two [[deliver]] tables; give it one with all kinds")
        return self


class Destination(Configured):
    """One receiver. ``name`` is what /deliveries shows: protocol and configured name."""

    name: str
    kinds: frozenset[Kind]
    cohort: bool
    peer: DimsePeer | DicomwebPeer | Webhook
    commitment: bool = False
    filter: Filter = Filter(decisions=EVERY)


def load_destinations(settings: Settings) -> tuple[Destination, ...]:
    """Read where answers go. Raises ConfigurationError, which names the setting and never quotes a value."""
    path = settings.deliveries_file
    if path is None:
        return ()
    tables = _read(path)
    peers = load_peers(settings.peers_file)
    return (
        *(_of_peer(peers, one, path) for one in tables.deliver),
        *_of_webhooks(tables),
    )


def _read(path: Path) -> DeliveryTables:
    try:
        return DeliveryTables.model_validate(
            tomllib.loads(path.read_text("utf-8-sig")), context={"folder": path.absolute().parent}
        )
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the deliveries' file {path} cannot be read ({type(error).__name__})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the deliveries' file {path} is not TOML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigurationError(f"the deliveries' file {path} is wrong: {wrong}") from error


def _of_peer(peers: Peers, wanted: PeerDelivery, path: Path) -> Destination:
    known: dict[str, DimsePeer | DicomwebPeer] = {}
    if wanted.peer in peers.dimse:
        known["dimse"] = peers.dimse[wanted.peer]
    if wanted.peer in peers.dicomweb:
        known["dicomweb"] = peers.dicomweb[wanted.peer]
    fitting = [protocol for protocol in known if wanted.protocol in {None, protocol}]
    if len(fitting) != 1:
        why = "is in no table of the peers' file" if not fitting else "has two protocols; name one"
        raise ConfigurationError(f"the deliveries' file {path} is wrong: the peer {wanted.peer} {why}")
    if wanted.commitment and fitting[0] != "dimse":
        raise ConfigurationError(
            f"the deliveries' file {path} is wrong: {wanted.peer} is no DIMSE peer, which storage commitment takes"
        )
    return Destination(
        name=f"{fitting[0]}:{wanted.peer}",
        kinds=frozenset(wanted.kinds),
        cohort=wanted.cohort,
        peer=known[fitting[0]],
        commitment=wanted.commitment,
        filter=_filter_of(wanted),
    )


def _filter_of(table: Filter) -> Filter:
    return Filter.model_validate({name: getattr(table, name) for name in Filter.model_fields})


def _of_webhooks(tables: DeliveryTables) -> Iterable[Destination]:
    for name, webhook in tables.webhooks.items():
        kinds = frozenset({Kind.EVENT})
        yield Destination(
            name=f"webhook:{name}", kinds=kinds, cohort=webhook.cohort, peer=webhook, filter=_filter_of(webhook)
        )
