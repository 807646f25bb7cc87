// Distributions, curves, tables of colour and points: each takes one block of the payload and gives a figure.

function figure(title, drawing, ...below) {
  const caption = Array.isArray(title) ? [title[0], " ", el("small", {}, title[1])] : title;
  return el("figure", {}, el("figcaption", {}, caption), drawing, ...below);
}

/** Percentiles of several gates on one scale: whiskers 5 to 95, box 25 to 75, mark at the median. */
function strips({ title, low, high, neutral, rows }) {
  const [width, line] = [560, 24];
  const left = Math.min(220, 20 + 6.4 * Math.max(...rows.map((row) => row.label.length)));
  const height = rows.length * line + 34;
  const values = rows.map((row) => row.percentiles);
  const x = scale(extent(values, low, high, neutral), [left, width - 14]);
  const root = frame(width, height, `${title}: percentiles of ${rows.length} gates`);
  root.append(...axisX(x, height - 30, ticks(x.low, x.high, 6), null, 4), neutralX(x, neutral, 4, height - 30) ?? "");
  rows.forEach(({ label, percentiles, mark, note }, at) => {
    const y = at * line + 16;
    const row = svg("g", { class: layerClass(mark) }, svg("title", {}, note));
    row.append(svg("text", { x: left - 8, y: y + 4, "text-anchor": "end", class: "strong" }, label));
    if (percentiles[0] !== null) {
      const [p5, p25, p50, p75, p95] = percentiles.map(x);
      row.append(
        svg("line", { class: "stroke", x1: p5, x2: p95, y1: y, y2: y }),
        svg("rect", { class: "fill", x: p25, y: y - 6, width: Math.max(1, p75 - p25), height: 12, opacity: 0.55 }),
        svg("rect", { class: "fill", x: p50 - 1.5, y: y - 8, width: 3, height: 16 }),
      );
    }
    root.append(row);
  });
  return figure([title, "5, 25, 50, 75, 95 % of values; dashed: neutral"], root);
}

/** One small histogram a gate, all of a kind on one scale. */
function histograms({ title, low, high, neutral, charts }) {
  const [width, height, bottom] = [260, 108, 88];
  const x = scale(extent([low, high], near(neutral, [low, high])), [8, width - 8]);
  const small = charts.map(({ label, note, edges, shares, mark }) => {
    const y = scale([0, Math.max(...shares, 1e-9)], [bottom, 10]);
    const root = frame(width, height, `histogram of ${title}, ${label}: ${note}`);
    const step = (edges[1] - edges[0]) / (shares.length || 1);
    const bars = shares.map((share, at) => {
      const [from, to] = [x(edges[0] + at * step), x(edges[0] + (at + 1) * step)];
      const right = Math.max(to, from + 1).toFixed(1);
      return share ? `M${from.toFixed(1)} ${bottom}V${y(share).toFixed(1)}H${right}V${bottom}Z` : "";
    });
    root.append(...axisX(x, bottom), svg("path", { class: `fill ${layerClass(mark)}`, d: bars.join("") }));
    root.append(neutralX(x, neutral, 4, bottom) ?? "");
    return figure([label, note], shares.length ? root : el("p", { class: "empty" }, "no values"));
  });
  return el("div", {}, el("h3", {}, title), el("div", { class: "multiples" }, small));
}

/** Curves over common positions; missing values leave gaps. */
function lines({ title, note, x: across, y: up, neutral, series }) {
  const [width, height, left, bottom] = [560, 230, 58, 190];
  const x = scale(across.low === undefined ? extent(across.values) : [across.low, across.high], [left, width - 12]);
  const all = series.map((one) => one.values);
  const y = scale(extent(all, near(neutral, all)), [bottom, 12]);
  const root = frame(width, height, `${title}: ${series.map((one) => one.label).join(", ")}`);
  root.append(...axisY(y, left, width - 12, ticks(y.low, y.high, 5), up), ...axisX(x, bottom, undefined, across.label));
  root.append(neutralY(y, neutral ?? null, left, width - 12) ?? "");
  for (const { label, values, mark } of series) {
    const points = values.map((value, at) => [x(across.values[at]), value === null ? null : y(value)]);
    const curve = svg("path", { class: "stroke", d: path(points) });
    const group = svg("g", { class: layerClass(mark) }, svg("title", {}, label), curve);
    if (values.length <= 12) {
      const dots = points.filter(([, py]) => py !== null);
      group.append(...dots.map(([px, py]) => svg("circle", { class: "fill", cx: px, cy: py, r: 2.6 })));
    }
    root.append(group);
  }
  const entries = series.map(({ label, mark }) => ({ label, mark: layerClass(mark) }));
  if (near(neutral, all) !== null) entries.push({ label: `neutral ${short(neutral)}`, mark: "dashed" });
  return figure([title, note ?? ""], root, legend(entries));
}

/** The neutral value where showing it costs at most half of the picture, else nothing. */
function near(neutral, values) {
  if (neutral === null || neutral === undefined) return null;
  const [low, high] = extent(values);
  return neutral >= low - (high - low) && neutral <= high + (high - low) ? neutral : null;
}

/** Blue below the centre, orange above, pale at it; with no centre one hue. */
function heatColour(value, low, high, centre) {
  if (value === null) return ["var(--shade)", 0];
  if (centre === null) return ["var(--s0)", (value - low) / (high - low || 1)];
  const reach = Math.max(high - centre, centre - low) || 1;
  return [value < centre ? "var(--s0)" : "var(--s1)", Math.abs(value - centre) / reach];
}

function heat({ title, note, rows, columns, values, centre, low, high, notes }) {
  const [least, most] = low === null ? extent(values) : [low, high];
  const written = rows.length * columns.length <= 200;
  const [width, top, line] = [560, written ? 22 : 8, written ? 26 : 14];
  const left = Math.min(220, 16 + 6.2 * Math.max(...rows.map((row) => row.length), 1));
  const cell = Math.min(110, (width - left) / columns.length);
  const root = frame(width, top + line * rows.length + 8, `${title}: ${rows.length} by ${columns.length}`);
  const heading = (name, at) => svg("text", { x: left + (at + 0.5) * cell, y: 14, "text-anchor": "middle" }, name);
  if (written) root.append(...columns.map(heading));
  rows.forEach((name, row) => {
    const y = top + row * line;
    root.append(svg("text", { x: left - 6, y: y + line / 2 + 4, "text-anchor": "end", class: "strong" }, name));
    columns.forEach((column, at) => {
      const value = values[row][at];
      const [colour, strength] = heatColour(value, least, most, centre);
      const said = `${name}, ${column}: ${format(value)}${notes ? ` (${notes[row][at]})` : ""}`;
      const opacity = value === null ? 0.6 : 0.06 + 0.62 * Math.min(1, strength);
      const place = { x: left + at * cell, y, width: cell - 1, height: line - 1 };
      const box = svg("rect", { ...place, fill: colour, "fill-opacity": opacity });
      const text = { x: left + (at + 0.5) * cell, y: y + line / 2 + 4, "text-anchor": "middle", class: "strong" };
      const number = written && cell > 26 ? svg("text", text, compact(value)) : "";
      root.append(svg("g", {}, svg("title", {}, said), box, number));
    });
  });
  return figure([title, note ?? ""], root);
}

/** For a cell: two digits after the point. */
function compact(value) {
  if (value === null) return "–";
  return Math.abs(value) < 100 ? value.toFixed(2).replace("-", "−") : format(value);
}
