"""Idempotency-Key: who repeats a POST that may have got through gets the first answer, and nothing is done twice."""

from med3d_service.idempotency.repeating import Repetitions, describe_idempotency

__all__ = ["Repetitions", "describe_idempotency"]
