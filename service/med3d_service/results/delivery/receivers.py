"""Who is told of answers beside the peers: webhooks, FHIR servers, and systems that take HL7 v2 messages."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic.networks import HttpUrl

from med3d_service.network.peers.configuration import Host, HttpPeer, SigningSecret, Tls
from med3d_service.results.delivery.filtering import EVERY, Filter
from med3d_service.settings import is_private

Place = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,227}$")]
"""An application or a facility (HD): a name, or NAME^ID^TYPE."""


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


class FhirServer(Filter, HttpPeer):
    """A server of FHIR R4; ``url`` is its base, to which transactions are posted."""

    decisions: Annotated[tuple[Literal["accepted", "review", "refused"], ...], Field(min_length=1)] = EVERY
    cohort: bool = False

    @model_validator(mode="after")
    def _patients_by_tls(self) -> "FhirServer":
        if not self.allow_insecure and not is_private(str(self.url)):
            raise ValueError("patients' names would go in the clear: use https://, or say allow_insecure = true")
        return self


class MllpReceiver(Filter):
    """A system that takes ORU^R01 by MLLP. pdf: the page goes with the numbers.

    character_set: as MSH-18 names it; a message that it cannot write goes as UTF-8, and says so.
    """

    decisions: Annotated[tuple[Literal["accepted", "review", "refused"], ...], Field(min_length=1)] = EVERY
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]
    sending_application: Place = "INFOVAE-MED3D"
    sending_facility: Place = ""
    receiving_application: Place = ""
    receiving_facility: Place = ""
    pdf: bool = False
    character_set: Literal["UNICODE UTF-8", "8859/1", "8859/2", "8859/5", "8859/7", "8859/9", "8859/15"] = (
        "UNICODE UTF-8"
    )
    cohort: bool = False
    tls: Tls | None = None
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
