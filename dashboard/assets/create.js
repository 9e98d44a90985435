// The create dialogue beyond its form: how a table becomes requests, and the check before submission.
(function () {
  "use strict";
  const $ = (selector, within) => within.querySelector(selector);
  const made = (name, text) => { const element = document.createElement(name); element.textContent = text; return element; };
  const isTable = (file) => Boolean(file) && /\.(csv|tsv)$/i.test(file.name);

  // What the service is told of a file beside its bytes.
  nightrate.asked = function (form, file) {
    const query = new URLSearchParams({ filename: file.name });
    const fields = ["name", "description", "days", "workspace"];
    if (isTable(file)) {
      fields.push("content_column", "id_column", "model", "system");
      query.set("delimiter", form.dataset.delimiter || ",");
      query.set("header", form.elements.header.checked ? "yes" : "no");
    }
    for (const field of fields) if (form.elements[field] && form.elements[field].value) query.set(field, form.elements[field].value);
    return query;
  };

  async function post(address, body) {
    const answer = await fetch(address, { method: "POST", headers: { "content-type": "application/octet-stream" }, body });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.error ? told.error.message : "The service answered " + answer.status + ".");
    return told;
  }
  function problem(form, text) {
    const place = $("[data-problem]", form);
    place.textContent = text;
    place.hidden = !text;
  }
  function fill(select, options, chosen) {
    select.replaceChildren(...options.map(([value, text]) => { const option = made("option", text); option.value = value; return option; }));
    select.value = chosen;
  }

  // ---- a table ------------------------------------------------------------------------------------
  document.addEventListener("change", async (event) => {
    const form = event.target.form;
    if (!form || !("upload" in form.dataset)) return;
    $("[data-report]", form).hidden = true; // it told of what was chosen before
    if (event.target.name === "header") return draw(form);
    if (event.target.name !== "file") return;
    const file = event.target.files[0], place = $("[data-table]", form);
    place.hidden = !isTable(file);
    if (place.hidden) return;
    try {
      const told = await post("/console/do/preview", file.slice(0, 65536));
      form.dataset.delimiter = told.delimiter;
      form.rows = told.rows;
      form.elements.header.checked = told.header;
      fill(form.elements.model, told.models.map((name) => [name, name]), told.models[0]);
      draw(form, true);
    } catch (error) { problem(form, error.message); }
  });
  function draw(form, first) {
    const rows = form.rows || [], wide = Math.max(0, ...rows.map((row) => row.length));
    const names = Array.from({ length: wide }, (_, i) => (form.elements.header.checked && rows[0][i]) || "Column " + (i + 1));
    const head = document.createElement("thead"), body = document.createElement("tbody");
    const titles = document.createElement("tr");
    titles.append(...names.map((name) => { const title = made("th", name); title.scope = "col"; return title; }));
    head.append(titles);
    for (const row of form.elements.header.checked ? rows.slice(1) : rows) {
      const line = document.createElement("tr");
      line.append(...names.map((_, i) => made("td", row[i] || "")));
      body.append(line);
    }
    $("[data-preview]", form).replaceChildren(head, body);
    const columns = names.map((name, i) => [String(i), name]);
    const { content_column: content, id_column: id } = form.elements;
    fill(content, columns, first ? String(Math.min(1, wide - 1)) : content.value);
    fill(id, [["", "number the rows"], ...columns], first ? (wide > 1 ? "0" : "") : id.value);
  }

  // ---- the check ------------------------------------------------------------------------------------
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-check]");
    if (!button) return;
    const form = button.form, file = form.elements.file.files[0];
    if (!file) { problem(form, "Choose a data file."); return form.elements.file.focus(); }
    problem(form, "");
    button.disabled = true;
    button.textContent = "Checking…";
    try { show(form, await post(button.dataset.check + "?" + nightrate.asked(form, file), file)); }
    catch (error) { problem(form, error.message); }
    button.disabled = false;
    button.textContent = "Check";
  });
  function show(form, told) {
    const place = $("[data-report]", form), number = (n) => n.toLocaleString("en");
    place.className = told.valid ? "report valid" : "report";
    place.hidden = false;
    const parts = [];
    if (told.valid) parts.push(made("p", number(told.total) + (told.total === 1 ? " request" : " requests") + " for " + told.model + ", all in order."));
    else parts.push(made("p", number(told.error_count) + (told.error_count === 1 ? " fault" : " faults") + (told.error_count > told.errors.length ? "; the first " + told.errors.length + ":" : ":")), faults(told.errors));
    if (told.estimate) {
      const cost = told.estimate.half ? "; about " + told.estimate.half + " instead of " + told.estimate.list + " in real time" : "";
      parts.push(made("p", "Estimate: " + told.estimate.tokens + " tokens" + cost + "."));
      const basis = made("p", "By the " + told.estimate.basis + "; what is charged may differ.");
      basis.className = "note";
      parts.push(basis);
    } else if (told.valid) {
      const none = made("p", "No estimate: this model has no history here.");
      none.className = "note";
      parts.push(none);
    }
    place.replaceChildren(...parts);
    $(".ends", form).scrollIntoView({ block: "nearest" });
  }
  function faults(errors) {
    const scroll = document.createElement("div"), table = document.createElement("table");
    scroll.className = "scroll";
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "group");
    scroll.setAttribute("aria-label", "Faults by line");
    for (const error of errors) {
      const row = document.createElement("tr"), line = made("td", error.line === null ? "" : "line " + error.line);
      line.dataset.field = "line";
      row.append(line, made("td", error.message));
      table.append(row);
    }
    scroll.append(table);
    return scroll;
  }
})();
