// The component of dashboard/field.py: an input whose text belongs to whoever types in it.
(function () {
  "use strict";
  const { createElement, useEffect, useRef } = window.React;
  const TICKS = ["checkbox", "radio"];

  window.nightrate.Field = function (props) {
    const { setProps, value, checked, ...rest } = props;
    const input = useRef(null), tick = TICKS.includes(rest.type);
    for (const name of Object.keys(rest)) if (/^(dash|_dash|loading|component)/.test(name) || rest[name] === undefined) delete rest[name];
    useEffect(() => { // another value was asked for, by Back or a link: shown unless somebody is typing
      if (document.activeElement === input.current) return;
      if (tick) input.current.checked = Boolean(checked);
      else input.current.value = value || "";
    }, [value, checked]);
    const first = tick ? { value: value, defaultChecked: Boolean(checked) } : { defaultValue: value || "" };
    return createElement("input", { ...rest, ...first, ref: input });
  };
})();
