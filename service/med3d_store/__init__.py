"""The object store that services and workers share."""
