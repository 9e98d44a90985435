// Dragging over a chart of Monitor makes that the period: the link follows, and all charts and cards with it.
(function () {
  "use strict";
  const page = window.nightrate;

  function second(moment) {
    const [day, time = ""] = String(moment).split(" ");
    return day + "T" + (time + "00:00:00".slice(time.length)).slice(0, 8);
  }
  page.zoom = function (plot, from, to) {
    if (!from || !to) return;
    const within = plot.closest("[data-zoom]").dataset;
    const first = [second(from), within.start].sort()[1], last = [second(to), within.end].sort()[0];
    if (first >= last) return;
    const query = new URLSearchParams(location.search);
    for (const name of ["precision", "page"]) query.delete(name); // the precision that suits the shorter period
    query.set("from", first);
    query.set("to", last);
    page.go(location.pathname + "?" + query.toString().replaceAll("%3A", ":").replaceAll("%2F", "/"));
  };
})();
