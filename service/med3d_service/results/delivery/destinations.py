"""Where answers go: nowhere, until a file names peers with kinds of objects, or receivers. Judged at a process's start.

``[[deliver]]`` tables name a peer of the peers' file; ``[webhooks.NAME]``, ``[fhir.NAME]`` and ``[hl7.NAME]`` tables an
address of their own.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from med3d_service.network.peers.configuration import (
    ConfigurationError,
    Configured,
    DicomwebPeer,
    DimsePeer,
    PeerName,
    Peers,
    load_peers,
    wrong_settings,
)
from med3d_service.results.delivery.digest_tables import DigestTable
from med3d_service.results.delivery.filtering import EVERY, Filter
from med3d_service.results.delivery.receivers import FhirServer, MllpReceiver, Webhook
from med3d_service.results.kinds import Kind
from med3d_service.settings import Settings

Receiver = Webhook | FhirServer | MllpReceiver


class PeerDelivery(Filter):
    """Which objects a peer gets. ``protocol`` is only needed where the peer has both."""

    peer: PeerName
    protocol: Literal["dimse", "dicomweb"] | None = None
    kinds: Annotated[tuple[Literal[Kind.SR, Kind.PDF, Kind.SC, Kind.SEG, Kind.EXPLANATION], ...], Field(min_length=1)]
    cohort: bool = False
    commitment: bool = False
    """Ask for storage commitment (DIMSE only): delivered is what the peer has promised to keep."""


class DeliveryTables(Configured):
    """The file."""

    deliver: tuple[PeerDelivery, ...] = ()
    webhooks: dict[PeerName, Webhook] = Field(default_factory=dict)
    fhir: dict[PeerName, FhirServer] = Field(default_factory=dict)
    hl7: dict[PeerName, MllpReceiver] = Field(default_factory=dict)
    digests: dict[PeerName, DigestTable] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_peer_once(self) -> "DeliveryTables":
        named = [(one.peer, one.protocol) for one in self.deliver]
        if len(named) != len(set(named)):
            raise ValueError("a peer stands in two [[deliver]] tables; give it one with all kinds")
        return self

    @model_validator(mode="after")
    def _digests_go_somewhere(self) -> "DeliveryTables":
        for name, digest in self.digests.items():
            if digest.webhook is not None and digest.webhook not in self.webhooks:
                raise ValueError(f"the digest {name} goes to a webhook that this file does not have")
        return self


class Destination(Configured):
    """One receiver. ``name`` is what /deliveries shows: protocol and configured name.

    orthanc: the peer by its own interface where it is an Orthanc, by whatever protocol it is sent to.
    """

    name: str
    kinds: frozenset[Kind]
    cohort: bool
    peer: DimsePeer | DicomwebPeer | Receiver
    commitment: bool = False
    filter: Filter = Filter(decisions=EVERY)
    orthanc: DicomwebPeer | None = None

    @property
    def takes_back(self) -> bool:
        """Whether what was filed there under a patient who was corrected since can be removed."""
        return self.orthanc is not None and self.orthanc.orthanc is not None and self.orthanc.orthanc.take_back


def load_destinations(settings: Settings) -> tuple[Destination, ...]:
    """Read where answers go. Raises ConfigurationError, which names the setting and never quotes a value."""
    path = settings.deliveries_file
    if path is None:
        return ()
    tables = _read(path)
    peers = load_peers(settings.peers_file)
    return (
        *(_of_peer(peers, one, path) for one in tables.deliver),
        *_of_receivers(tables),
    )


def load_digests(settings: Settings) -> Mapping[str, tuple[DigestTable, Webhook | None]]:
    """Read the daily digests, each with its webhook where it goes to one. Raises ConfigurationError."""
    if settings.deliveries_file is None:
        return {}
    tables = _read(settings.deliveries_file)
    return {name: (one, tables.webhooks.get(one.webhook or "")) for name, one in tables.digests.items()}


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
        raise ConfigurationError(f"the deliveries' file {path} is wrong: {wrong_settings(error)}") from error


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
        orthanc=peers.orthancs.get(wanted.peer),
    )


def _filter_of(table: Filter) -> Filter:
    return Filter.model_validate({name: getattr(table, name) for name in Filter.model_fields})


def _of_receivers(tables: DeliveryTables) -> Iterable[Destination]:
    for name, webhook in tables.webhooks.items():
        yield _of_receiver(f"webhook:{name}", webhook, Kind.EVENT)
    for name, server in tables.fhir.items():
        yield _of_receiver(f"fhir:{name}", server, Kind.FHIR)
    for name, receiver in tables.hl7.items():
        yield _of_receiver(f"hl7:{name}", receiver, Kind.ORU_PDF if receiver.pdf else Kind.ORU)


def _of_receiver(name: str, receiver: Receiver, kind: Kind) -> Destination:
    kinds, which = frozenset({kind}), _filter_of(receiver)
    return Destination(name=name, kinds=kinds, cohort=receiver.cohort, peer=receiver, filter=which)
