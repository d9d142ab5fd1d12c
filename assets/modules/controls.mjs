/* Buttons, choices and switches of the player, each with its words. */

const ICONS = {
  first: "M3 2h2v12H3zM14 2v12L6 8z",
  back: "M11 2v12L3 8zM12 2h2v12h-2z",
  play: "M4 2l10 6-10 6z",
  pause: "M3 2h4v12H3zM9 2h4v12H9z",
  on: "M5 2v12l8-6zM2 2h2v12H2z",
  last: "M11 2h2v12h-2zM2 2v12l8-6z",
  full: "M2 2h5v2H4v3H2zM9 2h5v5h-2V4H9zM2 9h2v3h3v2H2zM12 9h2v5H9v-2h3z",
};

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/* A button; where its text is no sentence of its own, `label` is what it is called. */
export function button(label, onclick, { image = null, text = null, ...attributes } = {}) {
  const made = make("button", { type: "button", class: "player-button", title: label, "aria-label": label, onclick, ...attributes });
  made.append(image ? icon(image) : (text ?? label));
  return made;
}

export function choice(label, options, chosen, onchange) {
  const select = make("select", { class: "player-select", "aria-label": label, onchange: (event) => onchange(event.target.value) });
  for (const [value, text] of options) select.append(make("option", { value, selected: value === chosen }, text));
  return make("label", { class: "player-choice" }, make("span", { text: label }), select);
}

export function toggle(label, checked, onchange) {
  const box = make("input", { type: "checkbox", checked, onchange: (event) => onchange(event.target.checked) });
  return make("label", { class: "player-toggle" }, box, make("span", { text: label }));
}
