"""How runs wait and are called: inserted, held, sent for, counted for autoscalers, named where nobody comes."""
