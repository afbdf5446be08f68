"""What is kept for how long, by class: inputs, tensors, latents, results, the audit trail."""

from med3d_service.custody.retention.removing import remove_of_erased
from med3d_service.custody.retention.sweeping import Due, Retention, finish_removals

__all__ = ["Due", "Retention", "finish_removals", "remove_of_erased"]
