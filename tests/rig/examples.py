"""How many examples hypothesis tries."""

from hypothesis import settings


def at_most(examples: int) -> settings:
    """Try so many where examples are long, and no more than the profile says, of which make test-quick has a short one."""
    return settings(max_examples=min(examples, settings().max_examples))
