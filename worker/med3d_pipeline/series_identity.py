"""Kept for scripts that were written for 0.2.0: what it had lies in ``med3d_pipeline.reading.series_identity``."""

from med3d_pipeline.reading.series_identity import image_fault, sequence_identity

__all__ = ["image_fault", "sequence_identity"]
