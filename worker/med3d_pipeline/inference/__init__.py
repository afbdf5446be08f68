"""From tensors to latents, estimates, intervals and the decision on them."""
