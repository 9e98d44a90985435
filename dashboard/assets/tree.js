// The component of dashboard/component.py's `tree`: a whole section as one component of Dash.
(function () {
  "use strict";
  const { createElement, Fragment } = window.React, page = window.nightrate;
  function drawn(node) {
    if (!Array.isArray(node)) return node;
    const [name, attributes, ...inner] = node;
    const type = name.startsWith("!") ? page[name.slice(1)] : name.toLowerCase();
    // A row stays that of its thing wherever it comes to stand, a form that of what it does, with what was typed in it.
    const own = attributes["data-id"] || attributes["data-action"] || ("data-filters" in attributes && "filters");
    const key = own ? { key: own } : null;
    return createElement(type, { ...attributes, ...key }, ...inner.map(drawn));
  }
  page.Tree = function ({ tree }) { return createElement(Fragment, null, ...tree.map(drawn)); };
})();
