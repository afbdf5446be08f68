"""What a worker's process says, and how."""

import logging
import sys

import structlog

from med3d_contract.log_stream import make_log_stream


def configure_logs(level: str) -> None:
    """Log one JSON object per line on stderr for our events; what libraries say goes the same way."""
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(make_log_stream(sys.stderr)),
        cache_logger_on_first_use=False,
    )
