"""The released model as one verified folder."""
