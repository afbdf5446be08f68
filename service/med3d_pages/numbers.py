"""How numbers are written on pages: a true minus, one decimal for years, intervals in words that do not break."""

from med3d_contract.results import Interval

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"


def plain(value: float | None, decimals: int = 0) -> str:
    """Write a number; a dash where there is none."""
    if value is None:
        return DASH
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def years(value: float | None) -> str:
    """Write years with one decimal."""
    return plain(value, 1)


def signed(value: float | None, decimals: int = 1) -> str:
    """Write a number with its sign; zero has none."""
    text = plain(value, decimals)
    return text if value is None or text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def interval(found: Interval, decimals: int = 1, *, with_signs: bool = False, word: str = "to") -> str:
    """Write the limits of an interval, such as 46.2 to 62.2."""
    write = signed if with_signs else plain
    return f"{write(found.lower, decimals)} {word} {write(found.upper, decimals)}"


def percent(share: float) -> str:
    """Write a share such as 0.9 in per cent."""
    return f"{share:.0%}".replace("%", "\N{NARROW NO-BREAK SPACE}%")


def duration(seconds: float, days: str = "days") -> str:
    """Write how long something took or is ago, in its two largest units at most."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 5 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} {days}"
