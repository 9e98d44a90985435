// The component of dashboard/spark.py: a few heights as a line with a tinted area below it.
(function () {
  "use strict";
  const { createElement } = window.React, high = 20;
  window.nightrate.Spark = function ({ heights, label }) {
    const points = heights.map((height, i) => i + "," + (high - height)).join(" "), last = heights.length - 1;
    const area = createElement("polygon", { points: "0," + high + " " + points + " " + last + "," + high });
    const line = createElement("polyline", { points, vectorEffect: "non-scaling-stroke" });
    const box = { viewBox: "0 -1 " + last + " " + (high + 2), preserveAspectRatio: "none" };
    return createElement("svg", { className: "spark", role: "img", "aria-label": label, ...box }, createElement("title", null, label), area, line);
  };
})();
