"""Routes that take studies and instances in, read them and erase them."""
