// The component of dashboard/plot.py: a chart that is drawn when it comes into view, the others when there is time.
(function () {
  "use strict";
  const { createElement, useEffect, useRef } = window.React, page = window.nightrate;
  const NEAR = "200px", SOON_MS = 300, CONFIG = { displayModeBar: false, displaylogo: false };
  const HALF = 0.35, BAR = 0.7;

  // ---- Plotly, once ------------------------------------------------------------------------------------
  let loading = null;
  function plotly() {
    loading = loading || new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = document.documentElement.dataset.plotly;
      script.onload = () => done(window.Plotly);
      script.onerror = () => { loading = null; failed(new Error("no Plotly")); };
      document.head.append(script);
    });
    return loading;
  }
  // Where charts are sure to come it is fetched while the page is still asked for.
  if (/^\/console\/(monitor|billing|tasks)\b/.test(location.pathname)) plotly().catch(() => {});

  // ---- what is worked out here rather than sent ------------------------------------------------------------
  function places(trace) { // moments as numbers, as Plotly understands them on an axis of dates
    if (trace.x) return trace.x.map((at) => Date.parse(at + "Z"));
    const first = Date.parse(trace.x0 + "Z");
    return trace.y.map((_, i) => first + i * trace.dx);
  }
  function band(low, high, color) { // a polygon for each run of points, so that it ends where there was no call
    const at = places(low), step = low.dx || at[1] - at[0], x = [], y = [];
    const there = (i) => i < at.length && low.y[i] !== null && high.y[i] !== null;
    for (let i = 0; i < at.length; i += 1) {
      if (!there(i)) continue;
      let last = i;
      while (there(last + 1)) last += 1;
      const run = Array.from({ length: last - i + 1 }, (_, n) => i + n);
      const edge = run.length > 1 ? run.map((n) => [n, at[n]]) : [[i, at[i] - HALF * step], [i, at[i] + HALF * step]];
      for (const [n, place] of edge) { x.push(place); y.push(low.y[n]); }
      for (const [n, place] of edge.reverse()) { x.push(place); y.push(high.y[n]); }
      x.push(null);
      y.push(null);
      i = last;
    }
    return { type: "scatter", mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: color, hoverinfo: "skip", x, y };
  }
  function bars(traces) { // moments at which nothing was counted need no elements
    if (traces.length === 0 || !traces[0].dx) return traces;
    const kept = traces[0].y.map((_, i) => i).filter((i) => traces.some((trace) => trace.y[i]));
    return traces.map((trace) => {
      const at = places(trace), { x0, dx, ...rest } = trace, pick = (values) => kept.map((i) => values[i]);
      const more = trace.customdata ? { customdata: pick(trace.customdata) } : {};
      return { ...rest, ...more, x: pick(at), y: pick(trace.y), width: dx * BAR };
    });
  }
  function drawn(figure) {
    const lines = figure.data.filter((trace) => trace.type !== "bar"), stacked = figure.data.filter((trace) => trace.type === "bar");
    const filled = (figure.bands || []).map(([low, high, color]) => band(figure.data[low], figure.data[high], color));
    return [...filled, ...bars(stacked), ...lines];
  }

  // ---- when ------------------------------------------------------------------------------------
  const later = []; // those out of view, one after the other
  let busy = null;
  function next() {
    busy = null;
    const work = later.shift();
    if (work) { work(); go(); }
  }
  function go() { if (!busy && later.length) busy = (window.requestIdleCallback || setTimeout)(next, { timeout: SOON_MS }); }

  page.Plot = function ({ figure, height, zooms }) {
    const place = useRef(null), now = useRef(null);
    now.current = figure;
    useEffect(() => {
      const box = place.current;
      let shown = false, gone = false;
      const draw = () => {
        if (shown || gone) return;
        shown = true;
        watching.disconnect();
        paint(box, now, zooms);
      };
      const watching = new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) draw(); }, { rootMargin: NEAR });
      watching.observe(box);
      later.push(draw);
      go();
      const sizing = new ResizeObserver(() => { if (box.data) window.Plotly.Plots.resize(box); });
      sizing.observe(box);
      return () => { gone = true; watching.disconnect(); sizing.disconnect(); if (box.data) window.Plotly.purge(box); };
    }, []);
    useEffect(() => { if (place.current.data) paint(place.current, now, zooms); }, [figure]);
    return createElement("div", { ref: place, className: "plot dash-graph", style: { height } });
  };
  async function paint(box, now, zooms) {
    try {
      const { react } = await plotly();
      if (!box.isConnected) return;
      await react(box, drawn(now.current), JSON.parse(JSON.stringify(now.current.layout)), CONFIG);
    } catch (error) { return; } // the service is away, which is said elsewhere; a later drawing tries again
    if (!zooms || box.dataset.follows) return;
    box.dataset.follows = "yes";
    box.on("plotly_relayout", (change) => page.zoom(box, change["xaxis.range[0]"], change["xaxis.range[1]"]));
  }
})();
