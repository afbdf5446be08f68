"""Shuts processes in that handle bytes of strangers, and decodes compressed pixels in such a process.

Standard library, numpy and pydicom alone; nothing of ours. See docs/decisions/0252-a-room-without-doors.md.
"""

from med3d_confined.shutting_in import CALLS, FILES, leave_no_core, refuse_calls, shut_in

__all__ = ["CALLS", "FILES", "leave_no_core", "refuse_calls", "shut_in"]
