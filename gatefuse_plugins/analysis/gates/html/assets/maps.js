// Gates by image token over the reference picture, and what the query retrieved.

function gateMaps({ maps, note }) {
  const title = ({ id, caption }) => `${id}: ${caption}`;
  const chosen = chooser({ key: "map", name: "Query", items: maps, title, draw: gateMap });
  return el("div", {}, el("p", { class: "note" }, note), chosen);
}

function gateMap(map) {
  const rank = map.rank === null ? "" : `target at rank ${format(map.rank)} of ${format(map.competitors)}`;
  const reference = picture(map.picture, `reference ${map.reference}`);
  const plain = el("figure", {}, reference, el("figcaption", {}, "reference ", el("small", {}, map.reference)));
  const overlays = map.maps.map((one) => overlay(one, map.picture));
  const parts = [el("p", { class: "query" }, `“${map.caption}”`), el("p", { class: "note" }, rank)];
  parts.push(el("div", { class: "overlays" }, plain, overlays));
  const found = map.retrievals.map(retrieval);
  if (found.length) parts.push(el("h3", {}, "Retrieved"), el("ol", { class: "retrieved" }, found));
  return el("div", {}, parts);
}

function picture(uri, said) {
  return uri ? el("img", { src: uri, alt: said }) : el("p", { class: "empty" }, `no picture of ${said}`);
}

/** A cell for each token, its colour by the signed distance from the neutral value. */
function overlay({ name, kind, neutral, distance, values }, uri) {
  const [rows, columns] = [values.length, values[0].length];
  const flat = values.flat().filter((value) => value !== null);
  const reach = Math.max(...flat.map((value) => Math.abs(value - neutral)), 1e-12);
  const [width, height] = [columns * 20, rows * 20];
  if (flat.length === 1 && rows * columns === 1) return whole({ name, kind, distance, value: flat[0] });
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${kind} by image token` });
  if (uri) root.append(svg("image", { href: uri, width, height, preserveAspectRatio: "none" }));
  values.forEach((row, down) =>
    row.forEach((value, across) => {
      const [colour, strength] = heatColour(value, neutral - reach, neutral + reach, neutral);
      const place = { x: across * 20, y: down * 20, width: 20, height: 20 };
      const box = svg("rect", { ...place, fill: colour, "fill-opacity": value === null ? 0 : 0.75 * strength });
      box.append(svg("title", {}, `row ${down + 1}, column ${across + 1}: ${format(value)}`));
      root.append(box);
    }),
  );
  const span = flat.length ? `${format(Math.min(...flat))} to ${format(Math.max(...flat))}` : "no values";
  const note = el("small", {}, `${measured(distance)}${span}`);
  return el("figure", { title: name }, root, el("figcaption", {}, kind, " ", note));
}

const measured = (distance) => (distance ? "mean |value − neutral|, " : "");

/** A gate of one value has no places to colour. */
function whole({ name, kind, distance, value }) {
  const note = el("small", {}, `${measured(distance)}one value for the whole image`);
  return el("figure", { title: name }, el("p", { class: "big" }, format(value)), el("figcaption", {}, kind, " ", note));
}

function retrieval({ rank, name, score, target, picture: uri }) {
  const said = target ? `${name}, the target` : name;
  const figures = el("small", {}, `#${rank} ${target ? "target " : ""}${format(score)}`);
  return el("li", { class: target ? "target" : null }, picture(uri, said), figures, el("small", {}, name));
}
