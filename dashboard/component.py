"""Components of our own beside Dash's, drawn by scripts in assets/; and a section of any as one of them."""

from typing import Any, ClassVar

from dash.development.base_component import Component

WILDCARDS = ("data-", "aria-")


class OwnComponent(Component):  # type: ignore[misc]  # Dash has no types
    """Of `properties` a browser is told those that are given; `wild` ones have data- and aria- attributes too.

    A class names `_namespace` (that of the scripts, `nightrate`) and `_type` itself, since Dash reads them there.
    """

    _children_props: ClassVar[list[str]] = []
    _base_nodes: ClassVar[list[str]] = ["children"]
    properties: ClassVar[tuple[str, ...]] = ()
    wild: ClassVar[bool] = False

    def __init__(self, **given: Any) -> None:
        wildcards = list(WILDCARDS) if self.wild else []
        self._prop_names = list(self.properties)
        self._valid_wildcard_attributes = wildcards
        self.available_properties = list(self.properties)
        self.available_wildcard_properties = wildcards
        super().__init__(**given)


class Tree(OwnComponent):
    """A section as one component of Dash, whose own subscribes each element to every change of the page."""

    _namespace, _type = "nightrate", "Tree"
    properties = ("id", "tree")


def tree(parts: Any) -> list[Any]:
    """Elements as `[name, attributes, what is in them …]`, of our own components `!` before the name."""
    if isinstance(parts, list | tuple):
        return [node for part in parts for node in tree(part)]
    if parts is None:
        return []
    return [_node(parts) if isinstance(parts, Component) else parts]


def _node(part: Component) -> list[Any]:
    known = part._prop_names
    attributes = {
        name: value
        for name, value in vars(part).items()
        if name != "children" and value is not None and (name in known or name.startswith(WILDCARDS))
    }
    own = "!" if part._namespace == "nightrate" else ""
    return [f"{own}{part._type}", attributes, *tree(getattr(part, "children", []))]
