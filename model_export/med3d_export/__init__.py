"""Offline training, evaluation and release of the model bundle; the only place where torch may be imported."""
