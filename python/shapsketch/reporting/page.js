"use strict";
const order = new Intl.Collator("en", { numeric: true });
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const key = (row, column) => {
    const cell = row.cells[column];
    return "number" in cell.dataset ? Number(cell.dataset.number.replace("inf", "Infinity")) : cell.textContent;
  };
  const compare = (a, b) => (typeof a === "string" ? order.compare(a, b) : a - b || 0);
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
    // The last column has strongest positions, of which "g3" must not find "g30".
    const texts = new Map(rows.map((row) => {
      const cells = [...row.cells].map((cell) => cell.textContent.toLowerCase());
      return [row, [cells.slice(0, -1).join(" "), cells.at(-1).split(/[\s,]+/)]];
    }));
    const matches = ([text, tokens], word) =>
      text.includes(word) || tokens.some((token) => (/\d$/.test(word) ? token === word : token.includes(word)));
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        row.hidden = !words.every((word) => matches(texts.get(row), word));
        shown += !row.hidden;
      }
      count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} sequences`;
    };
    input.addEventListener("input", filter);
    filter();
  }
}
