// One of many: a list, two buttons, and what was chosen in the fragment under `key`.

const OPEN = {};

/** `draw(item)` gives what is shown; OPEN[key](place) shows another from elsewhere in the page. */
function chooser({ key, name, items, title, draw, controls = [] }) {
  const options = items.map((item, at) => el("option", { value: at }, title(item)));
  const list = el("select", { id: `choose-${key}`, onchange: () => choose(Number(list.value)) }, options);
  const previous = el("button", { type: "button", onclick: () => choose(Number(list.value) - 1) }, "Previous");
  const next = el("button", { type: "button", onclick: () => choose(Number(list.value) + 1) }, "Next");
  const place = el("div", { "aria-live": "polite" });

  function choose(at) {
    state.set({ [key]: items[at].id });
    redraw();
  }

  function redraw() {
    const wanted = state.get(key);
    const at = Math.max(0, items.findIndex(({ id }) => id === wanted));
    list.value = at;
    [previous.disabled, next.disabled] = [at === 0, at === items.length - 1];
    place.replaceChildren(draw(items[at]));
  }

  OPEN[key] = (at) => {
    choose(at);
    list.closest("section").scrollIntoView();
    list.focus({ preventScroll: true });
  };
  controls.forEach((control) => control.addEventListener("change", redraw));
  state.watch(redraw);
  redraw();
  const row = [el("label", { for: list.id }, name), list, previous, next, ...controls];
  return el("div", {}, el("div", { class: "controls" }, row), place);
}
