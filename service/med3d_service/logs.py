"""JSON lines on stderr. Events carry our ids only: never a file name, a free text of the sender or an identifier."""

import logging
import sys

import structlog


def configure_logging() -> None:
    """Let this process log JSON lines to stderr, its libraries from WARNING on."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # pydicom quotes values of the data set in its warnings.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.access").disabled = True
