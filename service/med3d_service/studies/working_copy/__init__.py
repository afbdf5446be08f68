"""De-identified working copies: all that workers ever see of a study."""
