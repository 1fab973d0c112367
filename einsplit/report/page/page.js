"use strict";
// Everything shown here is data of a plan file, and reaches the page as text only: textContent, never markup.
(() => {
  const boxes = new Map(JSON.parse(document.getElementById("data").textContent).boxes.map((box) => [box.at, box]));
  const graph = document.getElementById("graph");
  const panel = document.getElementById("panel");
  const drawn = new Map([...graph.querySelectorAll(".box")].map((box) => [Number(box.dataset.box), box]));
  const edges = [...graph.querySelectorAll("[data-edge]")].map((path) => {
    const [read, reader] = path.dataset.edge.split(" ").map(Number);
    return { path, read, reader };
  });
  const body = document.querySelector(".nodes tbody");
  const rows = [...body.rows];
  const rowOf = new Map(rows.map((row) => [Number(row.dataset.row), row]));
  let chosen = null;

  const element = (name, text) => {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  };

  // ---- the panel: what a box is, and its neighbours

  const neighbours = (title, found) => {
    if (!found.length) return [];
    const value = document.createElement("dd");
    for (const at of [...new Set(found)]) {
      const link = element("button", boxes.get(at).name);
      link.type = "button";
      link.addEventListener("click", () => choose(at, true));
      value.append(link);
    }
    return [element("dt", title), value];
  };

  const show = (at) => {
    const list = document.createElement("dl");
    for (const [name, value] of boxes.get(at).facts) {
      if (value) list.append(element("dt", name), element("dd", value));
    }
    list.append(...neighbours("reads", edges.filter((edge) => edge.reader === at).map((edge) => edge.read)));
    list.append(...neighbours("read by", edges.filter((edge) => edge.read === at).map((edge) => edge.reader)));
    panel.replaceChildren(element("h3", boxes.get(at).name), list);
  };

  const choose = (at, scroll) => {
    chosen = at === chosen && !scroll ? null : at;
    graph.classList.toggle("chosen", chosen !== null && drawn.has(chosen));
    for (const box of drawn.values()) box.classList.remove("on", "near");
    for (const row of rows) row.classList.toggle("on", chosen !== null && rowOf.get(chosen) === row);
    for (const { path, read, reader } of edges) {
      const on = read === chosen || reader === chosen;
      path.classList.toggle("on", on);
      if (on) for (const other of [read, reader]) drawn.get(other).classList.add("near");
    }
    if (chosen === null) return;
    show(chosen);
    const box = drawn.get(chosen);
    if (!box) return;
    box.classList.add("on");
    if (scroll) box.scrollIntoView({ block: "center", inline: "center", behavior: "smooth" });
  };

  for (const [at, box] of drawn) {
    box.addEventListener("pointerenter", () => { if (chosen === null) show(at); });
    box.addEventListener("focus", () => { if (chosen === null) show(at); });
    box.addEventListener("click", () => choose(at, false));
    box.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(at, false); });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && chosen !== null) choose(chosen, false);
  });

  // ---- the table: sorted by any column, filtered by text

  const compare = (a, b) => (typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0);
  const heads = [...document.querySelectorAll(".nodes thead th")];

  const sortBy = (column, down) => {
    const key = (row) => boxes.get(Number(row.dataset.row)).sort[column];
    const order = [...rows].sort((a, b) => (down ? -1 : 1) * compare(key(a), key(b)));
    body.append(...order);
    heads.forEach((head, k) => {
      if (k === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };

  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const sorted = head.getAttribute("aria-sort");
    const figures = head.classList.contains("n");
    sortBy(column, sorted ? sorted === "ascending" : figures);
  }));

  const filter = document.getElementById("filter");
  const free = document.getElementById("free");
  const count = document.getElementById("count");
  const narrow = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      const box = boxes.get(Number(row.dataset.row));
      const text = [box.name, ...box.facts.map((fact) => fact[1])].join(" ").toLowerCase();
      row.hidden = (row.classList.contains("free") && !free.checked) || !words.every((word) => text.includes(word));
      left += row.hidden ? 0 : 1;
    }
    count.textContent = `${left} of ${rows.length} kinds`;
  };
  filter.addEventListener("input", narrow);
  free.addEventListener("change", narrow);
  for (const row of rows) row.addEventListener("click", () => choose(Number(row.dataset.row), true));
  sortBy(4, true);
  narrow();
})();
