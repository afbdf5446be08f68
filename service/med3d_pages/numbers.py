"""How numbers are written on pages: the mark of the language, a true minus, intervals in words that do not break.

What programs read (CSV, JSON, forms, places in an SVG) is written elsewhere, with a decimal point in any language.
"""

from dataclasses import dataclass

from med3d_contract.results import Interval

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
TOGETHER = "\N{NO-BREAK SPACE}"
"""Between a number and its unit: no line ends there."""


@dataclass(frozen=True)
class Numbers:
    """How one language writes numbers. ``mark``: before the decimals; ``to``, ``days``: the words."""

    mark: str = "."
    to: str = "to"
    days: str = "days"

    def plain(self, value: float | None, decimals: int = 0) -> str:
        """Write a number; a dash where there is none."""
        if value is None:
            return DASH
        text = f"{value:.{decimals}f}"
        text = text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)
        return text.replace(".", self.mark)

    def years(self, value: float | None) -> str:
        """Write years with one decimal."""
        return self.plain(value, 1)

    def signed(self, value: float | None, decimals: int = 1) -> str:
        """Write a number with its sign; zero has none."""
        text = self.plain(value, decimals)
        is_zero = value is not None and float(f"{value:.{decimals}f}") == 0
        return text if value is None or text.startswith(MINUS) or is_zero else f"+{text}"

    def brief(self, value: float) -> str:
        """Write a number without decimals where it has none, such as those along an axis."""
        return self.plain(value, 0 if float(value).is_integer() else 1)

    def interval(self, found: Interval, decimals: int = 1, *, with_signs: bool = False) -> str:
        """Write the limits of an interval, such as 46.2 to 62.2."""
        write = self.signed if with_signs else self.plain
        return f"{write(found.lower, decimals)} {self.to} {write(found.upper, decimals)}"

    def percent(self, share: float) -> str:
        """Write a share such as 0.9 in per cent."""
        return f"{share:.0%}".replace("%", "\N{NARROW NO-BREAK SPACE}%")

    def duration(self, seconds: float) -> str:
        """Write how long something took or is ago, in its two largest units at most."""
        whole = round(seconds)
        if seconds < 10:
            return f"{self.plain(seconds, 1)}{TOGETHER}s"
        if whole < 60:
            return f"{whole}{TOGETHER}s"
        minutes, rest = divmod(whole, 60)
        if minutes < 60:
            return f"{minutes}{TOGETHER}min {rest}{TOGETHER}s" if minutes < 5 else f"{minutes}{TOGETHER}min"
        hours, minutes = divmod(minutes, 60)
        if hours < 48:
            return f"{hours}{TOGETHER}h {minutes}{TOGETHER}min"
        return f"{hours // 24}{TOGETHER}{self.days}"

    def size(self, count: float) -> str:
        """Write a number of bytes, such as 12.5 GB."""
        for unit in ("B", "kB", "MB", "GB"):
            if count < 1000:
                return f"{self.plain(count, 0 if unit == 'B' else 1)}{TOGETHER}{unit}"
            count /= 1000
        return f"{self.plain(count, 1)}{TOGETHER}TB"
