"""What images show, whatever transfer syntax they come in: decoded by a child that may break."""
