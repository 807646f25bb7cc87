// Panels of a sample's picture: what is drawn between `top` and `bottom`, its legend, and how it reads at a place.

const spread = (count, end) => Array.from({ length: count + 1 }, (_, at) => (at * end) / count);
const pick = (values, share) => values[Math.min(values.length - 1, Math.floor(share * values.length))];

/** A row of true windows, then one for each prediction, the best on top. */
function windowsPanel({ windows }) {
  const guesses = windows.predicted.map((one, at) => [`#${at + 1}`, [one], "guess"]);
  const rows = [["true", windows.true ?? [], "truth"], ...guesses];
  const shown = windows.true === null ? rows.slice(1) : rows;
  const marks = [];
  if (windows.true !== null) marks.push({ label: "true windows", block: "truth" });
  if (windows.predicted.length) marks.push({ label: "predicted, best first", block: "guess" });
  const draw = (root, x, top) =>
    shown.forEach(([label, bars, kind], at) => {
      const y = top + at * 17;
      root.append(svg("text", { x: VIEW.left - 8, y: y + 12, "text-anchor": "end" }, label));
      for (const [start, end, score] of bars) {
        const box = { x: x(start), y: y + 2, width: Math.max(1, x(end) - x(start)), height: 13, rx: 2 };
        const said = `${short(start)} to ${short(end)}${score === undefined ? "" : `, score ${format(score)}`}`;
        root.append(svg("rect", { class: kind, ...box }, svg("title", {}, said)));
        if (score !== undefined) root.append(svg("text", { x: x(end) + 5, y: y + 13 }, score.toFixed(2)));
      }
    });
  return { title: "Windows", height: Math.max(1, shown.length) * 17, draw, marks };
}

/** Prediction as a line; what annotators said as an area, on a scale of its own from 0. */
function saliencyPanel({ saliency, length }) {
  const { predicted, annotated, annotatedLength } = saliency;
  const marks = [{ label: "predicted", mark: "s0" }];
  if (annotated) marks.push({ label: `annotated (0 to ${short(Math.max(...annotated, 0))})`, block: "truth faint" });
  const draw = (root, x, top, bottom) => {
    if (annotated) {
      const y = scale([Math.min(0, ...annotated), Math.max(...annotated, 1e-9)], [bottom, top]);
      const area = annotated.map((value, at) => {
        const edge = (place) => x((place * annotatedLength) / annotated.length).toFixed(1);
        return `M${edge(at)} ${y(0).toFixed(1)}V${y(value).toFixed(1)}H${edge(at + 1)}V${y(0).toFixed(1)}Z`;
      });
      root.append(svg("path", { class: "truth faint", d: area.join("") }));
    }
    const y = scale(extent(predicted), [bottom, top]);
    root.append(...axisY(y, VIEW.left, VIEW.right, ticks(y.low, y.high, 3)));
    root.append(svg("path", { class: "stroke s0", d: steps(predicted, spread(predicted.length, length), x, y) }));
  };
  const read = (share) => `saliency ${format(pick(predicted, share))}`;
  return { title: "Saliency", height: 84, draw, marks, read };
}

/** The area between two curves of steps. */
function between(low, high, edges, x, y) {
  const boxes = low.map((value, at) => {
    if (value === null) return "";
    const corners = [x(edges[at]), x(edges[at + 1]), y(value), y(high[at])];
    const [left, right, bottom, top] = corners.map((pixel) => pixel.toFixed(1));
    return `M${left} ${bottom}V${top}H${right}V${bottom}Z`;
  });
  return boxes.join("");
}

/** The gates of one kind: a line each, its band between the 10th and 90th percentile of channels where it has many. */
function gatePanel({ title, neutral, series, axis, length }, measure) {
  const curves = series.map(({ label, mark, values, band, distance }) => {
    const far = measure === "distance" && distance;
    return { label, mark: layerClass(mark), values: far ? distance : values, band: far ? null : band };
  });
  const level = measure === "distance" && series.some((one) => one.distance) ? 0 : neutral;
  const all = curves.flatMap(({ values, band }) => [values, ...(band ?? [])]);
  const draw = (root, x, top, bottom) => {
    const y = scale(extent(all, near(level, all)), [bottom, top]);
    root.append(...axisY(y, VIEW.left, VIEW.right, ticks(y.low, y.high, 4)));
    root.append(neutralY(y, level, VIEW.left, VIEW.right) ?? "");
    for (const { label, mark, values, band } of curves) {
      const edges = spread(values.length, length);
      const group = svg("g", { class: mark }, svg("title", {}, label));
      if (band) group.append(svg("path", { class: "fill band", d: between(...band, edges, x, y) }));
      group.append(svg("path", { class: "stroke", d: steps(values, edges, x, y) }));
      root.append(group);
    }
    if (axis === "head") root.append(...axisX(x, bottom, spread(length, length).slice(0, -1)));
  };
  const said = (share) => curves.map(({ label, values }) => `${label} ${format(pick(values, share))}`);
  const read = (share) => `${title}: ${said(share).join(", ")}`;
  const height = Math.max(110, curves.length * 15 + 8);
  const own = axis === "head" ? length : null;
  const marks = [...curves, ...(level === null ? [] : [{ label: `neutral ${short(level)}`, mark: "dashed" }])];
  return { title: own ? `${title}, by head` : title, height, draw, marks, read: own ? null : read, own };
}
