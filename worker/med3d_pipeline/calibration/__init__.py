"""A site's own healthy heads: what they change in a bundle's answers, fitted, signed, and applied."""
