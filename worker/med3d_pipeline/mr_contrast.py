"""Kept for scripts that were written for 0.2.0: what it had lies in ``med3d_pipeline.reading.mr_contrast``."""

from med3d_pipeline.reading.mr_contrast import judge_contrast

__all__ = ["judge_contrast"]
