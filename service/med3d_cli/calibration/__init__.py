"""Commands on a site's calibration: make one from its own healthy heads, hand it to the service."""
