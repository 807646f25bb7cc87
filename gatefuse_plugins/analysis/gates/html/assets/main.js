// From the payload to sections: a block says by its type how it is drawn.

const paragraph = ({ text }) => el("p", {}, text);
const notice = ({ text }) => el("p", { class: "notice" }, text);
const facts = ({ rows }) =>
  el("dl", { class: "facts" }, rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, format(value))]));
const messages = ({ title, items }) =>
  el("div", {}, el("h3", {}, title), el("ul", { class: "messages" }, items.map((item) => el("li", {}, item))));
const columns = ({ blocks }) => el("div", { class: "columns" }, blocks.map(drawn));

const DRAW = {
  columns, facts, heat, histograms, intervals, lines, messages, notice, paragraph, scatter, strips, table,
  maps: gateMaps,
  samples: sampleTable,
  views: sampleViews,
};

/** A block that cannot be drawn says so in its place; the others stand. */
function drawn(block) {
  try {
    return DRAW[block.type](block);
  } catch (error) {
    const said = `This part (${block.type}) could not be drawn: ${error.message}`;
    return el("p", { class: "notice", "data-failed": block.type }, said);
  }
}

function start() {
  const { sections } = JSON.parse(document.getElementById("payload").textContent);
  const links = sections.map(({ id, title }) => el("li", {}, el("a", { href: `#${id}` }, title)));
  document.querySelector("nav").append(el("ul", {}, links));
  const main = document.querySelector("main");
  for (const { id, title, blocks } of sections) {
    const heading = el("h2", { id: `${id}-title` }, title);
    main.append(el("section", { id, "aria-labelledby": heading.id }, heading, blocks.map(drawn)));
  }
  if (location.hash && !location.hash.includes("=")) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  document.documentElement.dataset.drawn = sections.length;
}

start();
