"""The audit trail: who read or changed what, when and from where. Append-only, each entry sealed to the one before."""

from med3d_service.trust.audit.events import Action, Actor, AuditEvent, Outcome, command_line
from med3d_service.trust.audit.trail import AuditTrail, TrailBrokenError

__all__ = ["Action", "Actor", "AuditEvent", "AuditTrail", "Outcome", "TrailBrokenError", "command_line"]
