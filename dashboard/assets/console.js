// What a page of server-drawn tables needs of a browser: links without reload, filters in the address,
// dialogues, uploads that are streamed, the theme, and a pause in the background. No user text becomes HTML.
(function () {
  "use strict";
  const root = "/console/";
  const $ = (selector, within) => (within || document).querySelector(selector);
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));

  // ---- going somewhere --------------------------------------------------------------------------
  function go(href) {
    if (href === location.pathname + location.search) return redraw();
    history.pushState({}, "", href);
    dispatchEvent(new CustomEvent("_dashprivate_pushstate")); // what dcc.Location listens to
  }
  function redraw() { window.dash_clientside.set_props("redraw", { data: Date.now() }); }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || !url.pathname.startsWith(root) || link.target || link.hasAttribute("download") || "plain" in link.dataset) return;
    if (url.hash && url.pathname === location.pathname) return;
    event.preventDefault();
    const elsewhere = url.pathname !== location.pathname;
    go(url.pathname + url.search);
    if (elsewhere) { scrollTo(0, 0); $("#main").focus({ preventScroll: true }); }
  });

  // ---- filters: the form is the address ------------------------------------------------------------
  function follow(form) {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (String(value).trim()) query.set(name, String(value).trim());
    const text = query.toString().replaceAll("%3A", ":").replaceAll("%2F", "/");
    go(location.pathname + (text ? "?" + text : ""));
  }
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (!form || !("filters" in form.dataset)) return;
    if (event.target.matches("[data-preset]")) {
      if (!event.target.value) return; // "Custom" asks for the two fields
      form.elements.from.value = event.target.value;
      form.elements.to.value = "now";
    }
    if (event.target.name === "zone") nightrate.keep("nightrate_chosen_zone", event.target.value);
    follow(form);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if ("filters" in form.dataset) { event.preventDefault(); follow(form); }
    if ("action" in form.dataset) { event.preventDefault(); act(form); }
    if ("upload" in form.dataset) { event.preventDefault(); upload(form); }
  });

  // ---- doing something ---------------------------------------------------------------------------
  function problem(within, text) {
    const place = $("[data-problem]", within);
    place.textContent = text || "";
    place.hidden = !text;
  }
  async function send(address, values) {
    const answer = await fetch(address, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(values || {}) });
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(body.error ? body.error.message : "The service answered " + answer.status + ".");
    return body;
  }
  async function act(form) {
    problem(form, "");
    try {
      const done = await send(form.dataset.action, Object.fromEntries(new FormData(form)));
      form.reset();
      if (done.secret) show(done.secret);
      redraw();
    } catch (error) { problem(form, error.message); }
  }
  function show(secret) { // an API key, this once
    const dialog = $("#secret");
    $("code", dialog).textContent = secret;
    dialog.onclose = () => { $("code", dialog).textContent = ""; };
    dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button, [role=button]");
    if (!button) return;
    if (button.dataset.opens) open(button.dataset.opens);
    if ("close" in button.dataset) button.closest("dialog").close();
    if (button.dataset.ask) ask(button);
    if ("themeToggle" in button.dataset) toggleTheme();
    if ("copy" in button.dataset) navigator.clipboard.writeText($("code", button.parentElement).textContent);
  });
  document.addEventListener("keydown", (event) => { // a link that looks like a button answers the space bar too
    if (event.key === " " && event.target.matches("a[role=button]")) { event.preventDefault(); event.target.click(); }
  });

  function ask(button) {
    const dialog = $("#ask"), yes = $("[data-yes]", dialog);
    $("h2", dialog).textContent = button.dataset.ask;
    $("[data-text]", dialog).textContent = button.dataset.because || "";
    $("[data-no]", dialog).textContent = button.dataset.no || "Keep it";
    yes.textContent = button.dataset.yes || button.textContent;
    yes.className = "mild" in button.dataset ? "btn primary" : "btn danger";
    yes.disabled = false;
    problem(dialog, "");
    yes.onclick = async () => {
      yes.disabled = true;
      try { const done = await send(button.dataset.does, {}); dialog.close(); if (done.href) go(done.href); else redraw(); }
      catch (error) { yes.disabled = false; problem(dialog, error.message); }
    };
    dialog.showModal();
  }

  // ---- the create dialogue --------------------------------------------------------------------------
  let sending = null;
  function open(id) {
    // The form is in the page only while it is open, so that its fields are not mistaken for the filters.
    const dialog = document.getElementById(id);
    dialog.append($("template", dialog).content.cloneNode(true));
    dialog.showModal();
  }
  document.addEventListener("close", (event) => {
    if (event.target.id !== "create") return;
    if (sending) sending.abort();
    $("form", event.target).remove();
  }, true);

  function progress(form, share) {
    const place = $("[data-sending]", form);
    place.hidden = share === null;
    $("progress", place).value = share || 0;
    $("[data-percent]", place).textContent = share === null ? "" : share < 1 ? Math.floor(share * 100) + " %" : "Stored; creating the task…";
    $("button[type=submit]", form).disabled = share !== null;
  }
  function upload(form) {
    const file = form.elements.file.files[0], name = form.elements.name.value.trim();
    if (!name) { problem(form, "Give the task a name."); return form.elements.name.focus(); }
    if (!file) { problem(form, "Choose a data file."); return form.elements.file.focus(); }
    problem(form, "");
    const query = nightrate.asked(form, file);
    const request = (sending = new XMLHttpRequest()); // fetch can't tell how much is sent
    request.open("POST", form.dataset.upload + "?" + query);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && progress(form, event.loaded / event.total);
    request.onload = () => {
      sending = null;
      progress(form, null);
      let body = {};
      try { body = JSON.parse(request.responseText); } catch (e) { /* not ours */ }
      if (request.status === 401) return location.reload();
      if (request.status >= 300) return problem(form, body.error ? body.error.message : "The service answered " + request.status + ".");
      form.closest("dialog").close();
      go(root);
    };
    request.onerror = () => { sending = null; progress(form, null); problem(form, "The upload broke off; is the service running?"); };
    request.onabort = () => { sending = null; };
    progress(form, 0);
    request.send(file);
  }
  for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, (event) => {
    const place = event.target.closest && event.target.closest("[data-drop]");
    if (!place) return;
    event.preventDefault();
    place.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      const field = $("input[type=file]", place);
      field.files = event.dataTransfer.files;
      field.dispatchEvent(new Event("change", { bubbles: true }));
    }
  });

  // ---- theme -------------------------------------------------------------------------------------
  function label() {
    const dark = document.documentElement.dataset.theme === "dark";
    for (const button of all("[data-theme-toggle]")) {
      button.textContent = dark ? "Light theme" : "Dark theme";
      button.title = "Now: " + (dark ? "dark" : "light");
    }
  }
  function toggleTheme() {
    localStorage.setItem("nightrate-theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    nightrate.applyTheme(); label(); redraw();
  }
  nightrate.systemTheme.addEventListener("change", () => { nightrate.applyTheme(); label(); redraw(); });

  // ---- what goes on by itself ------------------------------------------------------------------------
  function pause() {
    const live = $('[id*=\'"part":"live"\']');
    if (live) window.dash_clientside.set_props({ ...JSON.parse(live.id), part: "beat" }, { disabled: document.hidden });
  }
  document.addEventListener("visibilitychange", pause);

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

  // A list that is drawn again takes new elements: who stood on one of the old goes on on its successor.
  let stood = null;
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("[data-id]"), within = row || $("#main");
    if (!within.contains(event.target)) return (stood = null);
    const place = row ? "[data-id=\"" + CSS.escape(row.dataset.id) + "\"]" : "#main";
    stood = { element: event.target, place, nth: alike(within, event.target).indexOf(event.target) };
  });
  function alike(within, element) { return all(element.localName, within).filter((other) => other.textContent === element.textContent); }
  function stand() {
    if (!stood || stood.element.isConnected || document.activeElement !== document.body) return;
    const within = $(stood.place), next = within && alike(within, stood.element)[stood.nth];
    if (next) next.focus({ preventScroll: true });
  }
  // ---- dragging over a chart of Monitor makes that the period -------------------------------------------
  function zoomable() {
    for (const plot of all("[data-zoom] .js-plotly-plot")) {
      if (plot.dataset.follows || !plot.on) continue;
      plot.dataset.follows = "yes";
      plot.on("plotly_relayout", (change) => zoom(plot, change["xaxis.range[0]"], change["xaxis.range[1]"]));
    }
  }
  function zoom(plot, from, to) {
    if (!from || !to) return;
    const within = plot.closest("[data-zoom]").dataset;
    const second = (moment) => { const [day, time = ""] = String(moment).split(" "); return day + "T" + (time + "00:00:00".slice(time.length)).slice(0, 8); };
    const first = [second(from), within.start].sort()[1], last = [second(to), within.end].sort()[0];
    if (first >= last) return;
    const query = new URLSearchParams(location.search);
    query.delete("precision"); // the one that suits the shorter period
    query.set("from", first);
    query.set("to", last);
    go(location.pathname + "?" + query.toString().replaceAll("%3A", ":").replaceAll("%2F", "/"));
  }

  new MutationObserver(() => { mark(); stand(); zoomable(); }).observe(document.body, { childList: true, subtree: true });
})();
