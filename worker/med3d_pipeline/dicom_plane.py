"""Kept for scripts that were written for 0.2.0: what it had lies in ``med3d_pipeline.reading.dicom_plane``."""

from med3d_pipeline.reading.dicom_plane import SequenceFacts

__all__ = ["SequenceFacts"]
