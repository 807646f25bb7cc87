// Elements, numbers and the linkable state. Text goes in as text nodes only, so nothing of the data is read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** A number for reading: at most four significant digits; a missing one is a dash. Among fractions 1 is "1.000". */
function format(value, fractions = false) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  return plain(value, fractions).replace("-", "−");
}

function plain(value, fractions) {
  const size = Math.abs(value);
  if (value === 0 || (Number.isInteger(value) && !fractions)) return value.toLocaleString("en");
  if (size < 1e-3 || size >= 1e7) return value.toExponential(2);
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

/** Does a column of numbers hold any that is not whole? */
const fractional = (values) => values.some((value) => typeof value === "number" && !Number.isInteger(value));

/** The same for the marks of an axis: no more digits than they need. */
const short = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

const layerClass = (index) => `s${index % 8}${index >= 8 ? " second" : ""}`;

/** What the reader chose stands in the fragment, such as #q=dog&sort=id&view=7, so that it can be sent as a link. */
const state = {
  // a fragment without "=" is a jump to a section: it changes no choice
  chosen: new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : ""),
  get: (name) => state.chosen.get(name),
  set(changes) {
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === "") state.chosen.delete(name);
      else state.chosen.set(name, value);
    }
    history.replaceState(null, "", `#${state.chosen}`);
  },
  /** Calls `redraw` when a link or the reader changes the fragment. */
  watch(redraw) {
    window.addEventListener("hashchange", () => {
      if (!location.hash.includes("=")) return;
      state.chosen = new URLSearchParams(location.hash.slice(1));
      redraw();
    });
  },
};

function legend(entries) {
  const items = entries.map(({ label, mark }) => el("li", {}, el("i", { class: mark }), label));
  return el("ul", { class: "legend" }, items);
}

/** What is wider than its place scrolls, by keyboard too. */
function scrolling(label, child) {
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, child);
}

function table({ caption, columns, rows }) {
  const numeric = columns.map((_, at) => rows.length > 0 && rows.every((row) => typeof row[at] !== "string"));
  const kind = (at) => (numeric[at] ? "number" : "text");
  const fractions = columns.map((_, at) => fractional(rows.map((row) => row[at])));
  const head = columns.map((name, at) => el("th", { scope: "col", class: numeric[at] ? "number" : null }, name));
  const cells = (row) => row.map((cell, at) => el("td", { class: kind(at) }, format(cell, fractions[at])));
  const body = rows.map((row) => el("tr", {}, cells(row)));
  const top = caption ? el("caption", {}, caption) : null;
  const parts = [top, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)];
  return scrolling(caption || "table", el("table", {}, parts));
}
