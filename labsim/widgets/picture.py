"""Pictures for a notebook that can also be read without seeing them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from io import BytesIO

from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with every kind of colour vision.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"


@dataclass(frozen=True)
class Picture:
    """A drawn figure with words that say the same.

    Parameters
    ----------
    png : bytes
        The picture.
    alt : str
        What it shows, for who does not see it.
    caption : str
        Printed below.
    width : int
        Width on the page in CSS pixels.
    """

    png: bytes
    alt: str
    caption: str = ""
    width: int = 760

    @classmethod
    def of(cls, figure: Figure, alt: str, caption: str = "", width: int = 760) -> Picture:
        """Draw a figure, with two pixels for each of the page: sharp on dense screens too."""
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=2 * width / figure.get_figwidth())
        return cls(buffer.getvalue(), alt, caption, width)

    def __str__(self) -> str:
        return self.alt

    __repr__ = __str__

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png).decode()
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return (
            f"<figure style='margin: 0'><img alt='{escape(self.alt, quote=True)}' "
            f"style='max-width: 100%; width: {self.width}px' src='data:image/png;base64,{data}'>"
            f"{caption}</figure>"
        )
