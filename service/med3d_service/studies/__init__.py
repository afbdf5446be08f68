"""Studies from their arrival to the de-identified working copy."""
