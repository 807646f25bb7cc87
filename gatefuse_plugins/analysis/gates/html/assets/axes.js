// Scales and frames that all charts share.

/** About `count` round marks between two numbers. */
function ticks(low, high, count = 4) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const marks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) marks.push(at * step);
  return marks;
}

/** Smallest and largest finite number, widened where they are equal. */
function extent(values, ...also) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of [...also, ...values.flat()]) {
    if (value === null || value === undefined) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

function scale([low, high], [from, to]) {
  const place = (value) => from + ((value - low) / (high - low)) * (to - from);
  const at = (pixel) => low + ((pixel - from) / (to - from)) * (high - low);
  return Object.assign(place, { low, high, from, to, at });
}

function frame(width, height, label) {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
}

function axisX(x, y, marks = ticks(x.low, x.high), name = null, grid = null) {
  const parts = [svg("line", { class: "axis", x1: x.from, x2: x.to, y1: y, y2: y })];
  for (const mark of marks) {
    if (grid !== null) parts.push(svg("line", { class: "grid", x1: x(mark), x2: x(mark), y1: grid, y2: y }));
    parts.push(svg("text", { x: x(mark), y: y + 13, "text-anchor": "middle" }, short(mark)));
  }
  if (name) parts.push(svg("text", { x: (x.from + x.to) / 2, y: y + 28, "text-anchor": "middle" }, name));
  return parts;
}

function axisY(y, x, right, marks = ticks(y.low, y.high), name = null) {
  const parts = [];
  for (const mark of marks) {
    parts.push(svg("line", { class: "grid", x1: x, x2: right, y1: y(mark), y2: y(mark) }));
    parts.push(svg("text", { x: x - 6, y: y(mark) + 4, "text-anchor": "end" }, short(mark)));
  }
  if (name) {
    const middle = (y.from + y.to) / 2;
    parts.push(svg("text", { transform: `translate(12 ${middle}) rotate(-90)`, "text-anchor": "middle" }, name));
  }
  return parts;
}

const neutralX = (x, value, top, bottom) =>
  value === null || value < x.low || value > x.high
    ? null
    : neutralLine({ x1: x(value), x2: x(value), y1: top, y2: bottom }, value);

const neutralY = (y, value, left, right) =>
  value === null || value < y.low || value > y.high
    ? null
    : neutralLine({ x1: left, x2: right, y1: y(value), y2: y(value) }, value);

function neutralLine(ends, value) {
  return svg("line", { class: "neutral", ...ends }, svg("title", {}, `neutral ${short(value)}`));
}

/** Path through points [pixel, pixel]; it breaks where a value is missing. */
function path(points) {
  let open = false;
  let text = "";
  for (const [x, y] of points) {
    if (x === null || y === null || Number.isNaN(y)) {
      open = false;
      continue;
    }
    text += `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    open = true;
  }
  return text;
}

/** A step for each value: edges has one number more than values. */
function steps(values, edges, x, y) {
  const points = [];
  values.forEach((value, at) => {
    const height = value === null ? null : y(value);
    points.push([x(edges[at]), height], [x(edges[at + 1]), height]);
  });
  return path(points);
}
