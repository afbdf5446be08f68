"""Messages as they come out of Redis: what is none of ours is dropped there, before it can end the worker.

kombu decodes a message in the consumer's own loop, where any error ends the process: five bad ones ended a whole
service. A dropped message is no loss: the database is the truth, and the sweep sends again what waits.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import structlog
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from redis.exceptions import RedisError

from med3d_contract.queues import (
    APPRAISE_STUDY,
    EXPLAIN_RUN,
    MAKE_VOLUMES,
    PREDICT_READY,
    PREPROCESS_RUN,
    PUBLISH_RESULT,
)

log = structlog.get_logger()

Name = Annotated[str, Field(max_length=200)]
Limit = Annotated[float, Field(ge=0)] | None
MOST_AHEAD = timedelta(days=1)
"""A task that waits longer than any pause of ours is none; each that waits is held in memory beside those at work."""


class BadMessageError(ValueError):
    """What came is no task of ours."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Headers(_Strict):
    """The headers that Celery reads; others are left out."""

    task: Literal[PREPROCESS_RUN, APPRAISE_STUDY, EXPLAIN_RUN, MAKE_VOLUMES, PREDICT_READY, PUBLISH_RESULT]  # type: ignore[valid-type]
    id: Name
    root_id: Name | None = None
    parent_id: Name | None = None
    lang: Literal["py"] = "py"
    retries: Annotated[int, Field(ge=0)] = 0
    eta: Name | None = None
    expires: None = None
    timelimit: tuple[Limit, Limit] = (None, None)
    origin: Name | None = None
    argsrepr: Name | None = None
    kwargsrepr: Name | None = None
    ignore_result: bool | None = None
    redelivered: bool = False


class _DeliveryInfo(_Strict):
    exchange: Name
    routing_key: Name
    redelivered: bool = False


class _Properties(_Strict):
    delivery_tag: Annotated[str, Field(min_length=1, max_length=100)]
    delivery_mode: int = 2
    delivery_info: _DeliveryInfo
    priority: Annotated[int, Field(ge=0, le=9)]
    body_encoding: Literal["base64"]
    correlation_id: Name | None = None
    reply_to: Name | None = None


class _Message(_Strict):
    model_config = ConfigDict(populate_by_name=True)
    body: Annotated[str, Field(max_length=10_000)]
    headers: _Headers
    properties: _Properties
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")


class _Embedded(BaseModel):
    """What may follow a task: nothing."""

    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


_BODY = TypeAdapter(tuple[Annotated[list[Name | int], Field(max_length=2)], dict[None, None], _Embedded])


def _require_soon(eta: datetime) -> None:
    if eta - datetime.now(UTC) > MOST_AHEAD:  # TypeError where it has no time zone, which ours have
        raise ValueError("it is for a day to come")


def checked(payload: object) -> dict[str, Any]:
    """Return the message with what Celery reads of it. Raises BadMessageError."""
    try:
        message = _Message.model_validate_json(json.dumps(payload))
        _BODY.validate_python(json.loads(base64.b64decode(message.body, validate=True)))
        if message.headers.eta is not None:
            _require_soon(datetime.fromisoformat(message.headers.eta))
    except (ValidationError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadMessageError(type(error).__name__) from error
    # Celery copies the settings' limits into what it sends again. They hold here as well; another would kill the child.
    message.headers.timelimit = (None, None)
    return message.model_dump(mode="json", by_alias=True)


class _CheckedMessage(virtual.Message):  # type: ignore[misc]
    """Judged before it is remembered as under way, so that a bad one is never given out again."""

    def __init__(self, payload: object, channel: Any = None, **more: Any) -> None:
        super().__init__(checked(payload), channel=channel, **more)


class _CarefulQoS(redis.QoS):  # type: ignore[misc]
    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Give a message out again that nobody acknowledged; one that cannot be read is forgotten."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (RedisError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - the edge: whatever somebody wrote there
            log.warning("message_dropped", because=type(error).__name__)
            with self.channel.conn_or_acquire(client) as connection:
                connection.zrem(self.unacked_index_key, tag)
                connection.hdel(self.unacked_key, tag)


class _CarefulChannel(redis.Channel):  # type: ignore[misc]
    Message, QoS = _CheckedMessage, _CarefulQoS

    def _brpop_read(self, **options: Any) -> bool:
        try:
            return bool(super()._brpop_read(**options))
        except (redis.Empty, RedisError, OSError, *self.connection_errors):
            raise
        except Exception as error:  # noqa: BLE001 - the edge: it has left its queue already
            log.warning("message_dropped", because=type(error).__name__)
            return True


class CarefulTransport(redis.Transport):  # type: ignore[misc]
    """Redis, with messages that are judged."""

    Channel = _CarefulChannel


def use_careful_transport() -> None:
    """Let this process speak to Redis by CarefulTransport: kombu knows transports by their URL's scheme alone."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{CarefulTransport.__name__}"
