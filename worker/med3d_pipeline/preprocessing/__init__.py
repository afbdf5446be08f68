"""From a volume in its scanner's space to the tensor that the encoder takes, and the quality gate."""
