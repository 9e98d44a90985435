"""Components of our own beside Dash's, drawn by scripts in assets/; and any component as the JSON that a browser gets."""

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


def plain(part: Any) -> Any:
    """A tree of components as Dash would send it, but of dicts and lists.

    Dash asks each component for it through its encoder, which takes some five times as long, and anew at each answer.
    """
    if isinstance(part, Component):
        known = part._prop_names
        props = {
            name: plain(value)
            for name, value in vars(part).items()
            if name in known or name.startswith(WILDCARDS)
        }
        return {"props": props, "type": part._type, "namespace": part._namespace}
    if isinstance(part, list | tuple):
        return [plain(inner) for inner in part]
    return part
