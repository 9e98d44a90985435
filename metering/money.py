"""Exact decimals: how money is multiplied and how it is written."""

import re
from decimal import Clamped, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, Underflow

EXACT = Context(prec=60, traps=[Clamped, DivisionByZero, Inexact, InvalidOperation, Overflow, Underflow])
"""Arithmetic that raises rather than round. Use its methods: `EXACT.multiply(a, b)`."""

PRICE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
"""A list price per million tokens as it is written: digits, at most six of them decimals."""
ZERO = Decimal(0)


def plain(amount: Decimal) -> str:
    """The amount's digits: no exponent, no trailing zeros, no sign on zero ("0.0000102", "0")."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
