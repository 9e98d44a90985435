"""A text field that belongs to whoever types in it: a page that is drawn again does not take the text away.

Dash's own Input is told its value at each drawing. This one (assets/field.js) takes a value once, and again
when that value changed while nobody stood in the field. It has every type of HTML's inputs, dates included.
"""

from dashboard.component import OwnComponent


class Field(OwnComponent):
    """An input of a form; its properties are HTML's, beside data- and aria- attributes."""

    _namespace, _type, wild = "nightrate", "Field", True
    properties = (
        "id", "name", "type", "value", "placeholder", "className", "list", "min", "max", "step", "maxLength",
        "autoComplete", "inputMode", "required", "checked",
    )  # fmt: skip
