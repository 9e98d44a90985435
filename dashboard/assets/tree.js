// The component of dashboard/component.py's `tree`: a whole section as one component of Dash.
(function () {
  "use strict";
  const { createElement, Fragment } = window.React, page = window.nightrate;
  const words = (node) => (Array.isArray(node) ? node.slice(2).map(words).join("") : String(node));

  // What an element is, whatever comes and goes beside it when the section is drawn again: a row is that of its thing, a form
  // that of what it does, with what is typed in it, and what is pressed stays what it says, for who stands on it or presses it.
  function own(name, attributes, inner) {
    const told = attributes.key || attributes["data-id"] || attributes["data-action"];
    if (told) return told;
    if (name === "A" || name === "Button") return attributes["aria-label"] || inner.map(words).join("");
    if (name === "Label" && inner.length) return words(inner[0]);
    return "data-filters" in attributes ? "filters" : "";
  }
  function drawn(nodes) {
    const times = new Map();
    return nodes.map((node) => {
      if (!Array.isArray(node)) return node;
      const [name, attributes, ...inner] = node, type = name.startsWith("!") ? page[name.slice(1)] : name.toLowerCase();
      const key = own(name, attributes, inner), nth = times.get(key) || 0;
      times.set(key, nth + 1);
      return createElement(type, key ? { ...attributes, key: key + (nth ? " " + nth : "") } : attributes, ...drawn(inner));
    });
  }
  page.Tree = function ({ tree }) { return createElement(Fragment, null, ...drawn(tree)); };
})();
