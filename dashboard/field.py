"""A text field that belongs to whoever types in it: a page that is drawn again does not take the text away.

Dash's own Input is told its value at each drawing. This one (assets/field.js) takes a value once, and again
when that value changed while nobody stood in the field. It has every type of HTML's inputs, dates included.
"""

from typing import Any, ClassVar

from dash.development.base_component import Component

PROPERTIES = (
    "id", "name", "type", "value", "placeholder", "className", "list", "min", "max", "step", "maxLength",
    "autoComplete", "inputMode", "required", "checked",
)  # fmt: skip


class Field(Component):  # type: ignore[misc]  # Dash has no types
    """An input of a form; `PROPERTIES` are HTML's, beside data- and aria- attributes."""

    _children_props: ClassVar[list[str]] = []
    _base_nodes: ClassVar[list[str]] = ["children"]
    _namespace = "nightrate"
    _type = "Field"

    def __init__(self, **properties: Any) -> None:
        self._prop_names = list(PROPERTIES)
        self._valid_wildcard_attributes = ["data-", "aria-"]
        self.available_properties = list(PROPERTIES)
        self.available_wildcard_properties = ["data-", "aria-"]
        super().__init__(**properties)
