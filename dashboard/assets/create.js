// The create dialogue: what it is filled with, how a table becomes requests, the check before submission, the upload.
(function () {
  "use strict";
  const page = window.nightrate;
  const $ = (selector, within) => within.querySelector(selector);
  const made = (name, text, more) => Object.assign(document.createElement(name), { textContent: text }, more);
  const number = (n) => n.toLocaleString("en");
  const count = (n, one) => number(n) + " " + one + (n === 1 ? "" : "s");
  const isTable = (file) => Boolean(file) && /\.(csv|tsv)$/i.test(file.name);
  const formOf = (target) => target.form && "upload" in target.form.dataset && target.form;

  // ---- opening ------------------------------------------------------------------------------------
  page.open = function (button) {
    // The form is in the page only while it is open, so that its fields are not mistaken for the filters.
    const dialog = document.getElementById(button.dataset.opens);
    dialog.append($("template", dialog).content.cloneNode(true));
    if (button.dataset.clone) like($("form", dialog), button.dataset);
    dialog.showModal();
  };
  function like(form, told) {
    const { name, description, days, workspace } = form.elements;
    [name.value, description.value, days.value] = [told.name, told.description, told.days];
    if (workspace) { workspace.value = told.workspace; workspace.disabled = true; }
    $("h2", form).textContent = "Clone task";
    if (told.file) form.dataset.clone = told.clone;
    const kept = $("[data-kept]", form);
    kept.hidden = false;
    kept.textContent = told.file ? "The same data again (" + told.file + "), unless another file is chosen." : "The data file of that task is gone; choose one.";
  }
  let sending = null;
  document.addEventListener("close", (event) => {
    if (event.target.id !== "create") return;
    if (sending) sending.abort();
    $("form", event.target).remove();
  }, true);

  // ---- what the service is told of a file beside its bytes --------------------------------------------
  function asked(form, file) {
    const query = new URLSearchParams(), fields = ["name", "description", "days", "workspace"];
    if (file) query.set("filename", file.name);
    else query.set("clone", form.dataset.clone);
    if (isTable(file)) {
      fields.push("content_column", "id_column", "model", "system");
      query.set("delimiter", form.dataset.delimiter || ",");
      query.set("header", form.elements.header.checked ? "yes" : "no");
    }
    for (const field of fields) if (form.elements[field] && form.elements[field].value) query.set(field, form.elements[field].value);
    return query;
  }
  function chosen(form) { // the file; null where the one of the cloned task is used again; undefined if there is none
    const file = form.elements.file.files[0];
    if (file) return file;
    if (form.dataset.clone) return null;
    page.problem(form, "Choose a data file.");
    form.elements.file.focus();
    return undefined;
  }

  // ---- a file was chosen --------------------------------------------------------------------------------
  document.addEventListener("change", async (event) => {
    const form = formOf(event.target);
    if (!form) return;
    forget(form);
    if (event.target.name === "header") return draw(form);
    if (event.target.name !== "file") return;
    const file = event.target.files[0], place = $("[data-table]", form);
    page.problem(form, "");
    place.hidden = !isTable(file);
    named(form, file);
    if (isTable(file)) await preview(form, file);
  });
  function named(form, file) {
    const size = (n) => (n < 1e3 ? n + " bytes" : n < 1e6 ? (n / 1e3).toFixed(1) + " kB" : (n / 1e6).toFixed(1) + " MB");
    $("[data-chosen]", form).textContent = file ? file.name + ", " + size(file.size) : "No file chosen";
    if (file && !form.elements.name.value.trim()) form.elements.name.value = file.name.replace(/\.[a-z]+$/i, "").slice(0, 100);
  }
  async function preview(form, file) {
    try {
      const told = await post("/console/do/preview", file.slice(0, 65536));
      if (form.elements.file.files[0] !== file) return; // another one was chosen meanwhile
      form.dataset.delimiter = told.delimiter;
      form.rows = told.rows;
      form.elements.header.checked = told.header;
      fill(form.elements.model, told.models.map((name) => [name, name]), told.models[0]);
      draw(form, true);
    } catch (error) { page.problem(form, error.message); }
  }
  async function post(address, body) {
    const answer = await fetch(address, { method: "POST", headers: { "content-type": "application/octet-stream" }, body });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(page.told(answer, told));
    return told;
  }

  // ---- a table ------------------------------------------------------------------------------------
  function fill(select, options, value) {
    select.replaceChildren(...options.map(([key, text]) => made("option", text, { value: key })));
    select.value = value;
  }
  function draw(form, first) {
    const rows = form.rows || [], wide = Math.max(0, ...rows.map((row) => row.length));
    const named = form.elements.header.checked;
    const names = Array.from({ length: wide }, (_, i) => (named && rows[0][i]) || "Column " + (i + 1));
    const head = document.createElement("thead"), body = document.createElement("tbody");
    const titles = document.createElement("tr");
    titles.append(...names.map((name) => made("th", name, { scope: "col" })));
    head.append(titles);
    for (const row of named ? rows.slice(1) : rows) {
      const line = document.createElement("tr");
      line.append(...names.map((_, i) => made("td", row[i] || "", { title: row[i] || "" })));
      body.append(line);
    }
    $("[data-preview]", form).replaceChildren(head, body);
    const columns = names.map((name, i) => [String(i), name]);
    const { content_column: content, id_column: id } = form.elements;
    fill(content, columns, first ? String(wordiest(named ? rows.slice(1) : rows, wide)) : content.value);
    fill(id, [["", "number the rows"], ...columns], first ? (wide > 1 ? "0" : "") : id.value);
  }

  function wordiest(rows, wide) { // the column beside the first that holds most text is likely what is asked
    const long = (i) => rows.reduce((sum, row) => sum + (row[i] || "").length, 0);
    return Array.from({ length: wide }, (_, i) => i).slice(wide > 1 ? 1 : 0).reduce((most, i) => (long(i) > long(most) ? i : most), wide > 1 ? 1 : 0);
  }

  // ---- the check ------------------------------------------------------------------------------------
  function forget(form) { // the report tells of what was chosen before, and so does one that is still on its way
    $("[data-report]", form).hidden = true;
    return (form.about = {});
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-check]");
    if (button) check(button.form, button);
  });
  async function check(form, button) {
    const file = chosen(form);
    if (file === undefined) return;
    const about = forget(form);
    page.problem(form, "");
    button.disabled = true;
    button.textContent = "Checking…";
    try {
      const told = await post(button.dataset.check + "?" + asked(form, file), file);
      if (form.about === about) show(form, told);
    } catch (error) { if (form.about === about) page.problem(form, error.message); }
    button.disabled = false;
    button.textContent = "Check";
  }
  function show(form, told) {
    const place = $("[data-report]", form);
    place.className = told.valid ? "report valid" : "report invalid";
    place.hidden = false;
    place.replaceChildren(...(told.valid ? good(told) : bad(told)));
    place.scrollIntoView({ block: "nearest" });
  }
  function good(told) {
    const said = [made("p", count(told.total, "request") + " for " + told.model + ", all in order.", { className: "strong" })];
    if (!told.estimate) return [...said, made("p", "No estimate: this model has no history here.", { className: "note" })];
    const cost = told.estimate.half ? "; about " + told.estimate.half + " instead of " + told.estimate.list + " in real time" : "";
    said.push(made("p", "Estimate: " + told.estimate.tokens + " tokens" + cost + "."));
    return [...said, made("p", "By the " + told.estimate.basis + "; what is charged may differ.", { className: "note" })];
  }
  function bad(told) {
    const more = told.error_count > told.errors.length ? "; the first " + number(told.errors.length) + ":" : ":";
    return [made("p", count(told.error_count, "fault") + more, { className: "strong" }), faults(told.errors)];
  }
  function faults(errors) {
    const scroll = document.createElement("div"), table = document.createElement("table");
    scroll.className = "scroll";
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "group");
    scroll.setAttribute("aria-label", "Faults by line");
    for (const error of errors) {
      const row = document.createElement("tr"), line = made("td", error.line === null ? "" : "line " + number(error.line));
      const said = made("td", error.message);
      line.dataset.field = "line";
      if (error.text) said.append(made("code", error.text, { className: "cited" }));
      row.append(line, said);
      table.append(row);
    }
    scroll.append(table);
    return scroll;
  }

  // ---- the upload ------------------------------------------------------------------------------------
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.upload) { event.preventDefault(); upload(event.target); }
  });
  function progress(form, share) {
    const place = $("[data-sending]", form);
    place.hidden = share === null;
    $("progress", place).value = share || 0;
    $("[data-percent]", place).textContent = share === null ? "" : share < 1 ? Math.floor(share * 100) + " %" : "Stored; creating the task…";
    $("button[type=submit]", form).disabled = share !== null;
  }
  function upload(form) {
    if (!form.elements.name.value.trim()) { page.problem(form, "Give the task a name."); return form.elements.name.focus(); }
    const file = chosen(form);
    if (file === undefined) return;
    page.problem(form, "");
    const request = (sending = new XMLHttpRequest()); // fetch can't tell how much is sent
    request.open("POST", form.dataset.upload + "?" + asked(form, file));
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && progress(form, event.loaded / event.total);
    request.onload = () => { sending = null; done(form, request); };
    request.onerror = () => { sending = null; progress(form, null); page.problem(form, "The upload broke off; is the service running?"); };
    request.onabort = () => { sending = null; };
    progress(form, 0);
    request.send(file);
  }
  function done(form, request) {
    progress(form, null);
    let body = {};
    try { body = JSON.parse(request.responseText); } catch (e) { /* not ours */ }
    if (request.status === 401) return location.reload();
    if (request.status >= 300) return page.problem(form, page.told(request, body));
    form.closest("dialog").close();
    page.go("/console/");
  }

  // ---- dragging a file -------------------------------------------------------------------------------
  const holdsFile = (event) => event.dataTransfer && Array.from(event.dataTransfer.types).includes("Files");
  for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, (event) => {
    const dialog = event.target.closest && event.target.closest("#create"), place = dialog && $("[data-drop]", dialog);
    if (!holdsFile(event)) return;
    event.preventDefault(); // beside the dialogue a file would replace the page
    if (!place) return;
    place.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      const field = $("input[type=file]", place);
      field.files = event.dataTransfer.files;
      field.dispatchEvent(new Event("change", { bubbles: true }));
    }
  });
})();
