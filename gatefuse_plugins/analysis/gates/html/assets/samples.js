// The table of samples: search, sort and pages over columns of values; only the rows of one page are elements.

const PAGE = 25;

function sampleTable({ columns, viewed }) {
  const count = columns.length ? columns[0].values.length : 0;
  if (!count) return el("p", { class: "empty" }, "No sample was analysed.");
  // built at the first search: 100,000 rows need a moment
  let haystack = null;
  const text = () => (haystack ??= searchTexts(columns, count));
  const fractions = columns.map((column) => column.numeric && fractional(column.values));
  let sorting = {};
  let rows = [];

  const hint = "id, video or words of a query";
  const search = el("input", { type: "search", id: "search", value: state.get("q") ?? "", placeholder: hint });
  const status = el("output", { for: "search", "aria-live": "polite" });
  const previous = el("button", { type: "button" }, "Previous");
  const next = el("button", { type: "button" }, "Next");
  const head = el("tr", {}, columns.map((column) => heading(column)));
  const body = el("tbody", {});

  function heading(column) {
    const button = el("button", { type: "button", onclick: () => sortBy(column.key) }, column.label);
    const kind = column.numeric ? "number" : null;
    return el("th", { scope: "col", class: kind, "data-key": column.key, title: column.note }, button);
  }

  function sortBy(key) {
    const again = state.get("sort") === key;
    const down = again ? state.get("order") !== "down" : columns.find((column) => column.key === key).numeric;
    update({ sort: key, order: down ? "down" : "up", page: null });
  }

  function ordered(key, order) {
    if (sorting.key !== key || sorting.order !== order) {
      const column = columns.find((one) => one.key === key);
      sorting = { key, order, rows: sorted(Array.from({ length: count }, (_, row) => row), column, order === "down") };
    }
    return sorting.rows;
  }

  function update(changes) {
    state.set(changes);
    draw();
  }

  function draw() {
    const [key, order] = [state.get("sort"), state.get("order")];
    rows = found(text, ordered(key, order), state.get("q"));
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    const page = Math.min(Math.max(1, Number(state.get("page")) || 1), pages);
    const first = (page - 1) * PAGE;
    body.replaceChildren(...rows.slice(first, first + PAGE).map((row) => line(row)));
    for (const cell of head.children) {
      const active = cell.dataset.key === key;
      if (active) cell.setAttribute("aria-sort", order === "down" ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    const until = Math.min(first + PAGE, rows.length);
    const shown = rows.length ? `${format(first + 1)} to ${format(until)} of ` : "";
    const all = rows.length < count ? ` (${format(count)} in all)` : "";
    status.textContent = `${shown}${format(rows.length)} samples${all}`;
    [previous.disabled, next.disabled] = [page <= 1, page >= pages];
    previous.onclick = () => update({ page: page - 1 });
    next.onclick = () => update({ page: page + 1 });
  }

  function line(row) {
    const cells = columns.map((column, at) => {
      const value = column.values[row];
      if (at === 0 && row in viewed) return el("td", {}, el("a", { href: "#views", onclick: opener(row) }, value));
      return el("td", { class: column.numeric ? "number" : `text ${column.key}` }, format(value, fractions[at]));
    });
    return el("tr", {}, cells);
  }

  const opener = (row) => (event) => {
    event.preventDefault();
    OPEN.view(viewed[row]);
  };

  search.addEventListener("input", () => update({ q: search.value, page: null }));
  state.watch(() => {
    search.value = state.get("q") ?? "";
    draw();
  });
  draw();
  const label = el("label", { for: "search" }, "Search");
  const controls = el("div", { class: "controls" }, label, search, status, previous, next);
  const grid = el("table", { id: "samples-table" }, el("thead", {}, head), body);
  return el("div", {}, controls, scrolling("Samples", grid));
}

function searchTexts(columns, count) {
  const texts = columns.filter((column) => !column.numeric);
  const joined = (row) => texts.map((column) => column.values[row] ?? "").join("\n");
  return Array.from({ length: count }, (_, row) => joined(row).toLowerCase());
}

/** Those of `rows` that hold every word of the search. */
function found(text, rows, query) {
  const words = (query ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  return words.length ? rows.filter((row) => words.every((word) => text()[row].includes(word))) : rows;
}

/** Missing values come last either way. */
function sorted(rows, column, down) {
  if (!column) return rows;
  const { values, numeric } = column;
  const sign = down ? -1 : 1;
  const order = new Intl.Collator("en", { numeric: true });
  return rows.sort((a, b) => {
    const [one, other] = [values[a], values[b]];
    if (one === null || other === null) return (one === null) - (other === null);
    return sign * (numeric ? one - other : order.compare(one, other));
  });
}
