"""Who gets the daily digest: by a webhook of the deliveries' file, or by mail. Judged when a process starts."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from med3d_service.network.peers.configuration import Configured, Host, PeerName, Secret, Tls
from med3d_service.results.delivery.filtering import Pattern
from med3d_service.settings import is_private

MailAddress = Annotated[str, StringConstraints(pattern=r"^[\x21-\x3f\x41-\x7e]{1,64}@[A-Za-z0-9.-]{1,253}$")]


class Mail(Configured):
    """A mail server that takes mail from us, and for whom it is."""

    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    starttls: bool = True
    tls: Tls | None = None
    user: Annotated[str, StringConstraints(min_length=1)] | None = None
    password: Secret | None = None
    sender: MailAddress
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1)]
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 30.0

    @model_validator(mode="after")
    def _credentials_by_tls(self) -> "Mail":
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if self.user is not None and not self.starttls and not is_private(f"http://{self.host}"):
            raise ValueError("the password would go in the clear: leave starttls on")
        return self


class DigestTable(Configured):
    """What was refused in a day, told at ``hour`` of the service's clock: to a webhook of this file, or by mail."""

    hour: Annotated[int, Field(ge=0, le=23)] = 6
    sites: tuple[Pattern, ...] = ()
    webhook: PeerName | None = None
    mail: Mail | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "DigestTable":
        if (self.webhook is None) == (self.mail is None):
            raise ValueError("either webhook, the name of one in this file, or mail")
        return self
