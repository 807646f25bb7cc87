// Points of samples, and changes with their confidence intervals.

/** A point a sample; a click shows that sample in the table. */
function scatter({ title, note, x: across, y: up, groups, ids, legend: names }) {
  const [width, height, left, bottom] = [560, 320, 58, 280];
  const x = scale(padded(across.values), [left, width - 12]);
  const y = scale(padded(up.values), [bottom, 12]);
  const root = frame(width, height, `${title}: ${across.values.length} samples in ${names.length} groups`);
  root.append(...axisY(y, left, width - 12, undefined, up.label), ...axisX(x, bottom, undefined, across.label));
  const radius = across.values.length > 500 ? 1.8 : 3.2;
  across.values.forEach((value, at) => {
    if (value === null || up.values[at] === null) return;
    const place = { cx: x(value).toFixed(1), cy: y(up.values[at]).toFixed(1), r: radius };
    const point = svg("circle", { class: `fill s${groups[at] % 8}`, opacity: 0.7, ...place });
    point.append(svg("title", {}, `${ids[at]}: ${names[groups[at]]}`));
    root.append(point);
  });
  const entries = names.map((label, at) => ({ label, mark: `block s${at % 8}` }));
  return figure([title, note ?? ""], root, legend(entries));
}

function padded(values) {
  const [low, high] = extent(values);
  return [low - 0.04 * (high - low), high + 0.04 * (high - low)];
}

/** A row for each change: figures, bar and the sentence that reads it. */
function intervals({ title, note, open, rows }) {
  const shown = rows.filter((row) => row.change !== null);
  const x = scale(extent(shown.map((row) => [row.change, row.low, row.high]), 0), [12, 168]);
  const head = ["Intervention", "Gates", "Moved by", "Value", "Change", "95 % interval", "", "Reading"];
  const body = rows.map((row) => {
    const change = row.change === null ? "n/a" : signed(row.change);
    const texts = [format(row.moved, true), format(row.value, true), change, row.low === null ? "" : spanned(row)];
    const figures = texts.map((text) => el("td", { class: "number" }, text));
    const bar = el("td", { class: "wide" }, row.change === null ? "" : interval(x, row));
    const words = [row.intervention, row.gates].map((word) => el("td", {}, word));
    return el("tr", { title: row.sentence }, words, figures, bar, el("td", { class: "text" }, row.meaning));
  });
  const columns = head.map((name, at) => el("th", { scope: "col", class: at > 1 && at < 6 ? "number" : null }, name));
  const parts = [el("caption", {}, note), el("thead", {}, el("tr", {}, columns)), el("tbody", {}, body)];
  const scroll = scrolling(title, el("table", {}, parts));
  return el("details", { open }, el("summary", {}, el("strong", {}, title)), scroll);
}

const spanned = ({ low, high }) => `${signed(low)} to ${signed(high)}`;
const signed = (value) => (value > 0 ? "+" : "") + format(value, true);

function interval(x, { change, low, high }) {
  const [width, height] = [180, 22];
  const sure = low !== null && (low > 0 || high < 0);
  const said = low === null ? signed(change) : `${signed(change)}, 95 % interval ${spanned({ low, high })}`;
  const root = frame(width, height, said);
  const colour = sure ? "s1" : "s7";
  root.append(svg("title", {}, said), svg("line", { class: "neutral", x1: x(0), x2: x(0), y1: 2, y2: height - 2 }));
  if (low !== null) root.append(svg("line", { class: `stroke ${colour}`, x1: x(low), x2: x(high), y1: 11, y2: 11 }));
  root.append(svg("circle", { class: `fill ${colour}`, cx: x(change), cy: 11, r: 4 }));
  return root;
}
