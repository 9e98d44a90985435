// Going from place to place without a reload, filters in the address, and looking whether something changed.
// No user text ever becomes HTML. dialogues.js, create.js, charts.js and field.js hold the rest.
(function () {
  "use strict";
  const root = "/console/", page = window.nightrate;
  const $ = page.one, all = page.all;

  // ---- going somewhere --------------------------------------------------------------------------
  page.go = function (href, replace) {
    if (href === location.pathname + location.search) return page.redraw();
    busy();
    history[replace ? "replaceState" : "pushState"]({}, "", href);
    dispatchEvent(new CustomEvent("_dashprivate_pushstate")); // what dcc.Location listens to
  };
  page.redraw = function () { window.dash_clientside.set_props("redraw", { data: Date.now() }); };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || !url.pathname.startsWith(root) || link.target || link.hasAttribute("download") || "plain" in link.dataset) return;
    if (url.hash && url.pathname === location.pathname) return;
    event.preventDefault();
    const elsewhere = url.pathname !== location.pathname;
    page.go("turns" in link.dataset && !elsewhere ? turned(link.dataset.turns) : url.pathname + url.search);
    if (elsewhere) { scrollTo(0, 0); $("#main").focus({ preventScroll: true }); }
  });
  addEventListener("popstate", busy);

  function written(query) {
    const text = query.toString().replaceAll("%3A", ":").replaceAll("%2F", "/");
    return location.pathname + (text ? "?" + text : "");
  }
  function turned(changes) { // the address of now with what the link changes
    const query = new URLSearchParams(location.search);
    for (const [name, value] of new URLSearchParams(changes)) if (value) query.set(name, value); else query.delete(name);
    return written(query);
  }

  // ---- filters: the form is the address ------------------------------------------------------------
  const TYPED_MS = 350, SET_MS = 1500;
  let waits = null, typing = false;
  function later(milliseconds, act) { clearTimeout(waits); waits = setTimeout(() => { waits = null; act(); }, milliseconds); }
  function at_once() { clearTimeout(waits); waits = null; }
  addEventListener("popstate", () => { // Back shows at once what is asked for again, also what was drawn like that before
    at_once();
    typing = false;
    const query = new URLSearchParams(location.search);
    for (const field of all("form[data-filters] :is(select, [type=search])")) {
      const value = field.name && (query.get(field.name) || "");
      if (field.name && (!field.options || Array.from(field.options).some((option) => option.value === value))) field.value = value;
    }
    for (const field of all("[data-preset]")) { field.value = field.dataset.preset; show_ends(field); }
  });

  // What the address says and the form does not ask (sort, columns, table) stays; a page's number does not.
  function address(form, changed) {
    const query = new URLSearchParams(location.search);
    for (const name of [...query.keys()]) if (name === "after" || name.startsWith("page")) query.delete(name);
    const ends = ["from", "to"], moved = changed && ends.includes(changed.name);
    for (const field of form.elements) {
      if (!field.name || (ends.includes(field.name) && !moved)) continue; // a period stays relative until an end is set
      let value = field.value.trim();
      if (field.type === "datetime-local" && /T\d\d:\d\d$/.test(value)) value += ":00";
      if (value) query.set(field.name, value); else query.delete(field.name);
    }
    if (changed && changed.matches("[data-preset]")) { query.set("from", changed.value); query.delete("to"); query.delete("precision"); }
    return written(query);
  }
  function follow(form, changed, replace) {
    at_once();
    const href = address(form, changed);
    if (href !== location.pathname + location.search) page.go(href, replace);
  }
  function show_ends(preset) { $("[data-ends]", preset.form).hidden = preset.value !== "custom"; }
  const filters = (target) => target.form && "filters" in target.form.dataset && target.form;

  document.addEventListener("change", (event) => {
    const field = event.target, form = filters(field);
    if ("zone" in field.dataset) { page.keep("nightrate_chosen_zone", field.value); return page.redraw(); }
    if (!form || field.type === "search") return;
    if ("preset" in field.dataset) {
      show_ends(field);
      if (field.value === "custom") return form.elements.from.focus(); // asks for its two ends
    }
    if (field.name === "zone") page.keep("nightrate_chosen_zone", field.value);
    // A date is a change at each of its parts: it is followed when one goes on, or after a while.
    if (field.type === "datetime-local") later(SET_MS, () => follow(form, field));
    else follow(form, field);
  });
  document.addEventListener("input", (event) => { // a search goes on while one types; Back leaves it as a whole
    const field = event.target, form = filters(field);
    if (!form || field.type !== "search") return;
    later(TYPED_MS, () => { follow(form, field, typing); typing = true; });
  });
  document.addEventListener("focusout", (event) => {
    const field = event.target, form = filters(field);
    if (!form) return;
    if (field.type === "datetime-local" && field.value) settle(form, field);
    if (field.type !== "search") return;
    if (waits) follow(form, field, typing);
    typing = false;
  });
  function settle(form, field) {
    const known = field.defaultValue || "", value = field.value.length === 16 ? field.value + ":00" : field.value;
    if (value !== known) follow(form, field);
  }
  document.addEventListener("keydown", (event) => {
    const form = event.key === "Enter" && event.target.matches("input") && filters(event.target);
    if (!form) return;
    event.preventDefault();
    follow(form, event.target);
  });
  document.addEventListener("submit", (event) => {
    if ("filters" in event.target.dataset) { event.preventDefault(); follow(event.target); }
  });

  // ---- theme -------------------------------------------------------------------------------------
  function label() {
    const dark = document.documentElement.dataset.theme === "dark";
    for (const button of all("[data-theme-toggle]")) {
      button.textContent = dark ? "Light theme" : "Dark theme";
      button.title = "Now: " + (dark ? "dark" : "light");
    }
  }
  function retheme() { page.applyTheme(); label(); page.redraw(); }
  page.toggleTheme = function () {
    localStorage.setItem("nightrate-theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    retheme();
  };
  page.systemTheme.addEventListener("change", retheme);

  // ---- what goes on by itself ------------------------------------------------------------------------
  // One question at a time, none while nobody looks. What could not be drawn is asked for anew.
  let looked = Date.now();
  const drawing = () => window.dash_stores.some((store) => store.getState().isLoading);
  function look() {
    const every = Number(($("[data-page]") || { dataset: {} }).dataset.every) || 0;
    if (!every || document.hidden || drawing() || Date.now() - looked < every) return;
    looked = Date.now();
    if ($("[data-again]")) page.redraw();
    else window.dash_clientside.set_props("beat", { data: looked });
  }
  setInterval(look, 250);
  document.addEventListener("visibilitychange", look);

  // From the step to another view until all of it is drawn: between two answers nothing is under way, but more is asked.
  // Dash's own sign of work, a div, is taken away then, which is a change of the page though nothing else may be one.
  function busy() { $("#page").setAttribute("aria-busy", "true"); }
  function idle() {
    const waiting = $("#page[aria-busy]");
    if (waiting && !drawing()) waiting.removeAttribute("aria-busy");
  }

  const ask_server = window.fetch;
  window.fetch = async function (...args) {
    const stale = $("#stale");
    try {
      const answer = await ask_server.apply(this, args);
      if (answer.status === 401) { // the session ended: the login page is shown instead
        location.reload();
        return new Promise(() => {});
      }
      stale.hidden = answer.status < 500;
      return answer;
    } catch (error) { stale.hidden = false; throw error; }
  };

  function mark() {
    const heading = $("h1");
    document.title = heading ? heading.textContent + " · Nightrate" : "Nightrate";
    const here = location.pathname;
    for (const link of all("a[data-nav]")) {
      const path = new URL(link.href).pathname;
      const on = path === here || (path === root && here.startsWith(root + "tasks/")) || (path === root + "observation" && here.startsWith(root + "monitor/"));
      if (on) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
  }
  document.addEventListener("DOMContentLoaded", () => { label(); mark(); });
  if (document.readyState !== "loading") { label(); mark(); }

  // What is cut off says itself on hover.
  document.addEventListener("mouseover", (event) => {
    const cut = event.target.closest(".name, .id, .note, .cut, td > div");
    if (!cut || (cut.title && !("told" in cut.dataset))) return;
    cut.title = cut.scrollWidth > cut.clientWidth ? cut.textContent : "";
    cut.dataset.told = ""; // its text may be another one later
  });

  new MutationObserver(() => { mark(); idle(); }).observe(document.body, { childList: true, subtree: true });
})();
