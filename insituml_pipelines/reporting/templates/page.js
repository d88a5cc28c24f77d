"use strict";
(() => {
  // A table's rows go by the column whose head is pressed: first upwards, then downwards.
  const read = (row, column) => {
    const cell = row.cells[column];
    return "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent.trim();
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return (a > b) - (a < b); // of infinite ones, too
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const known = (value, numeric) => (numeric ? typeof value === "number" && value === value : value !== "–");
  for (const table of document.querySelectorAll("table")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const numeric = head.classList.contains("number");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [read(row, column), row]);
        rows.sort(([a], [b]) => {
          const missing = known(b, numeric) - known(a, numeric); // unknown ones stay last
          return missing || (down ? compare(b, a) : compare(a, b));
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  for (const zoom of document.querySelectorAll(".zoom")) {
    zoom.addEventListener("click", () => {
      zoom.setAttribute("aria-pressed", String(zoom.getAttribute("aria-pressed") !== "true"));
    });
  }

  // Light or dark: as the system has it, until the reader chooses.
  const root = document.documentElement;
  const toggle = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { toggle.textContent = dark() ? "Light colours" : "Dark colours"; };
  const keep = (theme) => {
    try { localStorage.setItem("insituml-theme", theme); } catch { /* a browser that keeps nothing */ }
  };
  try {
    const kept = localStorage.getItem("insituml-theme");
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  } catch { /* a browser that keeps nothing */ }
  toggle.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    keep(root.dataset.theme);
    label();
  });
  system.addEventListener("change", label);
  toggle.hidden = false;
  label();

  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details")) fold.open = true;
  });
})();
