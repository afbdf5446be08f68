"""Erasing a study: its rows at once, its objects as soon as the store takes it, a tombstone for ever."""

from med3d_service.custody.erasure.erasing import Erased, erase_study, finish_erasures

__all__ = ["Erased", "erase_study", "finish_erasures"]
