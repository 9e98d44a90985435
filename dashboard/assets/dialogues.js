// Doing something: small forms, questions before what can't be undone, secrets that are shown once, single lines.
(function () {
  "use strict";
  const page = window.nightrate, $ = page.one;

  page.problem = function (within, text) {
    const place = $("[data-problem]", within);
    place.textContent = text || "";
    place.hidden = !text;
  };
  page.told = (answer, body) => (body.error ? body.error.message : "The service answered " + answer.status + ".");

  async function send(address, values) {
    const answer = await fetch(address, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(values || {}) });
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(page.told(answer, body));
    return body;
  }

  // ---- small forms ------------------------------------------------------------------------------------
  function values(form) {
    const given = new FormData(form), many = form.dataset.many, found = Object.fromEntries(given);
    if (many) found[many] = given.getAll(many);
    return found;
  }
  async function act(form) {
    page.problem(form, "");
    const button = $("button[type=submit]", form);
    button.disabled = true;
    try {
      const done = await send(form.dataset.action, values(form));
      if (!form.dataset.many) form.reset();
      if (done.secret) secret(done.secret_title, done.secret);
      if (done.href) page.go(done.href); else page.redraw();
      flash(button);
    } catch (error) { page.problem(form, error.message); }
    finally { button.disabled = false; }
  }
  const flashing = new WeakSet();
  function flash(button) { // says for a moment that it was done
    if (flashing.has(button)) return;
    flashing.add(button);
    const name = button.textContent;
    button.textContent = "Done";
    setTimeout(() => { button.textContent = name; flashing.delete(button); }, 1200);
  }
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.action) { event.preventDefault(); act(event.target); }
  });

  function secret(title, text) { // an API key or a webhook's secret, this once
    const dialog = $("#secret");
    $("h2", dialog).textContent = title;
    $("code", dialog).textContent = text;
    dialog.onclose = () => { $("code", dialog).textContent = ""; };
    dialog.showModal();
  }

  // A dialogue is left and opened anew for something else while an answer is on its way: that is not for it any more.
  function taken(dialog) {
    const mine = (dialog.taken = {});
    return () => dialog.taken === mine;
  }

  // ---- questions ------------------------------------------------------------------------------------
  function ask(button) {
    const dialog = $("#ask"), yes = $("[data-yes]", dialog), mine = taken(dialog);
    $("h2", dialog).textContent = button.dataset.ask;
    $("[data-text]", dialog).textContent = button.dataset.because || "";
    $("[data-no]", dialog).textContent = button.dataset.no || "Keep it";
    yes.textContent = button.dataset.yes || button.textContent;
    yes.className = "mild" in button.dataset ? "btn primary" : "btn danger";
    yes.disabled = false;
    page.problem(dialog, "");
    const does = button.dataset.does;
    yes.onclick = async () => {
      yes.disabled = true;
      try {
        const done = await send(does, {});
        if (mine()) dialog.close();
        if (done.href) page.go(done.href); else page.redraw();
      } catch (error) { if (mine()) { yes.disabled = false; page.problem(dialog, error.message); } }
    };
    dialog.showModal();
  }

  // ---- a line of a file -------------------------------------------------------------------------------
  async function read(button) {
    const dialog = $("#line"), text = $("pre", dialog), mine = taken(dialog);
    const title = $("h2", dialog);
    title.textContent = button.dataset.title || "Line " + Number(button.dataset.line).toLocaleString("en");
    page.problem(dialog, "");
    text.textContent = "…";
    dialog.showModal();
    try {
      const answer = await fetch(button.dataset.reads), body = await answer.json().catch(() => ({}));
      if (!mine()) return;
      if (!answer.ok) throw new Error(page.told(answer, body));
      text.textContent = body.text || "(an empty line)";
      if (body.where) title.textContent += ": " + body.where;
    } catch (error) { if (mine()) { text.textContent = ""; page.problem(dialog, error.message); } }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button, [role=button]");
    if (!button) return;
    if (button.dataset.opens) page.open(button);
    if ("close" in button.dataset) button.closest("dialog").close();
    if (button.dataset.ask) ask(button);
    if (button.dataset.reads) read(button);
    if ("themeToggle" in button.dataset) page.toggleTheme();
    if ("copy" in button.dataset) copy(button);
  });
  async function copy(button) {
    await navigator.clipboard.writeText($("code", button.parentElement).textContent);
    flash(button);
  }
  document.addEventListener("keydown", (event) => { // a link that looks like a button answers the space bar too
    if (event.key === " " && event.target.matches("a[role=button]")) { event.preventDefault(); event.target.click(); }
  });
  document.addEventListener("click", (event) => { // beside a dialogue is out of it, as Escape is
    if (event.target.localName !== "dialog" || event.target.id === "create") return;
    const box = event.target.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) event.target.close();
  });
})();
