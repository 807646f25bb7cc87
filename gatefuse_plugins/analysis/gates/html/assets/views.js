// One sample: its gates over positions, beside windows and saliency where there are any.

const VIEW = { width: 1140, left: 74, right: 960 };

function sampleViews({ views, note }) {
  if (!views.length) return el("p", { class: "empty" }, "No single sample was drawn.");
  const wide = views.some((view) => view.panels.some((panel) => panel.series.some((one) => one.distance)));
  const far = el("option", { value: "distance" }, "mean distance from neutral");
  const mean = el("option", { value: "values" }, "mean over channels");
  const measure = el("select", { "aria-label": "what curves show" }, mean, far);
  const title = ({ id, query }) => (query ? `${id}: ${query}` : id);
  const draw = (view) => sampleView(view, measure.value);
  const chosen = chooser({ key: "view", name: "Sample", items: views, title, draw, controls: wide ? [measure] : [] });
  return el("div", {}, el("p", { class: "note" }, note), chosen);
}

function sampleView(view, measure) {
  const title = [view.id, view.vid && view.vid !== view.id ? `in ${view.vid}` : ""];
  const said = view.outcomes.map(([name, value]) => `${name} ${format(value)}`).join(" · ");
  const outcomes = said ? el("p", { class: "note" }, said) : null;
  const query = view.query ? el("p", { class: "query" }, `“${view.query}”`) : null;
  const figures = table({ caption: "Figures of this sample", columns: view.figures.columns, rows: view.figures.rows });
  const empty = view.panels.length ? null : el("p", { class: "empty" }, "No gate has a value in this sample.");
  const numbers = el("details", {}, el("summary", {}, "Figures of this sample as a table"), figures);
  return el("div", {}, el("h3", {}, title.join(" ")), query, outcomes, empty, timeline(view, measure), numbers);
}

/** Panels one below the other on one scale, with a line that follows the pointer or the arrow keys. */
function timeline(view, measure) {
  const panels = [];
  if (view.windows) panels.push(windowsPanel(view));
  if (view.saliency) panels.push(saliencyPanel(view));
  panels.push(...view.panels.map((panel) => gatePanel(panel, measure)));
  const height = panels.reduce((sum, panel) => sum + panel.height + 30, 34);
  const root = frame(VIEW.width, height, `gates of sample ${view.id} over ${view.unit}`);
  const cursor = svg("line", { class: "neutral", y1: 0, y2: height - 34, visibility: "hidden" });
  const readout = el("div", { class: "readout" }, "Point at the picture, or use the arrow keys, to read values.");
  const x = scale([0, view.length], [VIEW.left, VIEW.right]);
  let top = 22;
  for (const panel of panels) {
    for (const [start, end] of panel.own ? [] : view.offTopic) {
      root.append(svg("rect", { class: "shade", x: x(start), y: top, width: x(end) - x(start), height: panel.height }));
    }
    root.append(svg("text", { class: "strong title", x: VIEW.left, y: top - 7 }, panel.title));
    panel.draw(root, panel.own ? scale([0, panel.own], [VIEW.left, VIEW.right]) : x, top, top + panel.height);
    (panel.marks ?? []).forEach(({ label, mark, block }, at) => {
      const y = top + 8 + at * 15;
      const left = VIEW.right + 14;
      const sample = block
        ? svg("rect", { class: block, x: left, y: y - 5, width: 16, height: 9 })
        : svg("path", { class: `stroke ${mark}`, d: `M${left} ${y}h16` });
      root.append(sample, svg("text", { x: VIEW.right + 36, y: y + 4 }, label));
    });
    top += panel.height + 30;
  }
  if (panels.some((panel) => !panel.own)) root.append(...axisX(x, top - 28, ticks(0, view.length, 10), view.unit));
  root.append(cursor);
  const onkeydown = follow(root, x, view, panels, cursor, readout);
  const shaded = view.offTopic.length ? legend([{ label: "audio off-topic", mark: "block shaded" }]) : null;
  return el("figure", { tabindex: 0, class: "timeline", onkeydown }, root, shaded, readout);
}

/** Moves the line with the pointer; gives what moves it with the arrow keys. */
function follow(root, x, view, panels, cursor, readout) {
  let at = 0;
  const show = (place) => {
    at = Math.min(Math.max(place, 0), view.length * 0.9999);
    cursor.setAttribute("x1", x(at));
    cursor.setAttribute("x2", x(at));
    cursor.setAttribute("visibility", "visible");
    const read = panels.filter((panel) => panel.read).map((panel) => panel.read(at / view.length));
    readout.textContent = `${view.unit} ${format(at)}: ${read.filter(Boolean).join(" | ")}`;
  };
  root.addEventListener("pointermove", (event) => {
    const box = root.getBoundingClientRect();
    const pixel = ((event.clientX - box.left) / box.width) * VIEW.width;
    if (pixel >= VIEW.left && pixel <= VIEW.right) show(x.at(pixel));
  });
  return ({ key }) => {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[key] ?? 0;
    if (way) show(at + (way * view.length) / view.steps);
  };
}
