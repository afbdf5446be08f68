"""Commands of whoever looks after an installation: keys, bundles, audit, backup."""
