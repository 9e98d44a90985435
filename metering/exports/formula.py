"""What a spreadsheet would run as a formula, and how a text is made harmless (OWASP, CSV injection)."""

import re

ARROW_PATTERN = "^[\\s\\x00\\x{FEFF}]*[=+\\-@\\x{FF1D}\\x{FF0B}\\x{FF0D}\\x{FF20}]|^[\\t\\r\\n\\x00]"
"""Behind blanks and in full width too; as Arrow's regular expressions write it, for whole columns."""
_ONE = re.compile(r"[\t\n\f\r \x00\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n\x00]")


def harmless(text: str) -> str:
    """The text, behind an apostrophe if a spreadsheet would run it. Only for cells that are texts, not amounts."""
    return f"'{text}" if _ONE.match(text) else text
