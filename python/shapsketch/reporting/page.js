"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const key = (row, column) => {
    const cell = row.cells[column];
    return "number" in cell.dataset ? Number(cell.dataset.number.replace("inf", "Infinity")) : cell.textContent;
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(String(b), "en", { numeric: true }) : a - b || 0);
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      // Numbers descend first, text ascends first.
      const numbers = rows.length > 0 && typeof key(rows[0], column) === "number";
      const now = head.getAttribute("aria-sort") || (numbers ? "ascending" : "descending");
      const next = now === "ascending" ? "descending" : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      rows.sort((a, b) => sign * compare(key(a, column), key(b, column)));
      body.append(...rows);
    });
  });
  const search = table.closest("section").querySelector(".filter");
  if (search) {
    const input = search.querySelector("input");
    const count = search.querySelector("output");
    const texts = new Map(rows.map((row) => [row, [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase()]));
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        row.hidden = !words.every((word) => texts.get(row).includes(word));
        shown += !row.hidden;
      }
      count.textContent = `${shown} of ${rows.length} sequences`;
    };
    input.addEventListener("input", filter);
    filter();
  }
}
