/* A set of still pictures: overlays on the small pictures, and each one large with its hand in space and its
 * numbers. `#p=3` opens the third. The element is empty and stands after the grid in the same section. */

import { say, t } from "./words.mjs";

const BONES = Array.from({ length: 20 }, (_, k) => [k % 4 === 0 ? 0 : k, k + 1]);
const SVG = "http://www.w3.org/2000/svg";
const galleries = new WeakMap();

export function mount(element) {
  galleries.set(element, new Gallery(element));
}

export function unmount(element) {
  galleries.get(element)?.stop();
  galleries.delete(element);
}

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/* Points, bones and errors of a picture's hands as one SVG in the picture's own px; dots are at least
 * `least` of the picture's longer side wide, so that they are seen in a small copy. */
function drawOverlay(picture, least) {
  const [width, height] = picture.size_px;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
  svg.setAttribute("class", "photo-overlay");
  svg.setAttribute("aria-hidden", "true");
  const add = (group, name, attributes) => {
    const part = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    group.append(part);
  };
  for (const hand of picture.hands) {
    const longer = Math.max(hand.box_px[2] - hand.box_px[0], hand.box_px[3] - hand.box_px[1]);
    const size = Math.max(longer, 27 * least * Math.max(width, height));
    const layers = {};
    for (const layer of ["sigma", "bones", "points"]) {
      layers[layer] = document.createElementNS(SVG, "g");
      layers[layer].setAttribute("class", `layer-${layer} side-${hand.side}`);
      svg.append(layers[layer]);
    }
    const faulty = new Set(hand.failures.flatMap((failure) => failure.joints));
    for (const [a, b] of BONES) {
      const [[x1, y1], [x2, y2]] = [hand.points_px[a], hand.points_px[b]];
      add(layers.bones, "line", { x1, y1, x2, y2, "stroke-width": size / 90 });
    }
    hand.points_px.forEach(([cx, cy], joint) => {
      add(layers.sigma, "circle", { cx, cy, r: hand.sigma_px[joint], "stroke-width": size / 250 });
      const r = size / 55;
      const common = { "stroke-width": size / 220, class: faulty.has(joint) ? "is-doubtful" : "" };
      if (faulty.has(joint)) add(layers.points, "rect", { x: cx - r, y: cy - r, width: 2 * r, height: 2 * r, ...common });
      else add(layers.points, "circle", { cx, cy, r, ...common });
    });
  }
  return svg;
}

/* The part of a picture, in shares of its sides, that holds all hands with some room; null without a hand. */
function findNear(picture) {
  if (!picture.hands.length) return null;
  const [width, height] = picture.size_px;
  const boxes = picture.hands.map((hand) => hand.box_px);
  const low = [0, 1].map((axis) => Math.min(...boxes.map((box) => box[axis])) / [width, height][axis]);
  const high = [2, 3].map((axis) => Math.max(...boxes.map((box) => box[axis])) / [width, height][axis - 2]);
  const share = Math.min(Math.max(high[0] - low[0], high[1] - low[1]) * 1.4, 1);
  const [x, y] = low.map((value, axis) => {
    const start = (value + high[axis]) / 2 - share / 2;
    return Math.min(Math.max(start, 0), 1 - share);
  });
  return { scale: 1 / share, x, y };
}

class Gallery {
  constructor(element) {
    this.element = element;
    this.section = element.closest(".photos");
    this.pictures = new Map();
    this.aborter = new AbortController();
    const { signal } = this.aborter;
    this.layers = {};
    for (const button of this.section.querySelectorAll(".photo-switch")) {
      this.layers[button.dataset.layer] = button.getAttribute("aria-pressed") === "true";
    }
    this.section.addEventListener("click", (event) => this.click(event), { signal });
    window.addEventListener("hashchange", () => this.follow(), { signal });
    this.watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) this.fill(entry.target);
    }, { rootMargin: "300px" });
    for (const frame of this.section.querySelectorAll("[data-frame]")) this.watcher.observe(frame);
    this.numbers = [...this.section.querySelectorAll("[data-open]")].map((button) => Number(button.dataset.open));
    this.makeDialog();
    this.showLayers();
    this.follow();
    element.dataset.ready = "true";
  }

  stop() {
    this.aborter.abort();
    this.watcher.disconnect();
    this.space?.dispose();
    this.dialog.remove();
  }

  async read(number) {
    if (!this.pictures.has(number)) {
      const name = `picture_${String(number).padStart(3, "0")}.json`;
      const coming = fetch(this.element.dataset.media + name, { signal: this.aborter.signal }).then((answer) => {
        if (!answer.ok) throw new Error(t("The server answered with error {status}.", { status: answer.status }));
        return answer.json();
      });
      coming.catch(() => this.pictures.delete(number));
      this.pictures.set(number, coming);
    }
    return this.pictures.get(number);
  }

  async fill(frame) {
    this.watcher.unobserve(frame);
    try {
      frame.append(drawOverlay(await this.read(Number(frame.dataset.frame)), 0.011));
    } catch (error) {
      if (error.name !== "AbortError") this.watcher.observe(frame);
    }
  }

  click(event) {
    const open = event.target.closest("[data-open]");
    const layer = event.target.closest(".photo-switch");
    if (open) this.open(Number(open.dataset.open));
    if (layer?.dataset.layer) {
      const on = layer.getAttribute("aria-pressed") !== "true";
      this.layers[layer.dataset.layer] = on;
      for (const button of this.section.querySelectorAll(`.photo-switch[data-layer=${layer.dataset.layer}]`)) {
        button.setAttribute("aria-pressed", String(on));
      }
      this.showLayers();
    }
  }

  showLayers() {
    for (const [layer, on] of Object.entries(this.layers)) this.section.classList.toggle(`show-${layer}`, on);
    this.space?.setLayers(this.layers);
  }

  follow() {
    const wanted = /(?:^#|&)p=(\d+)/.exec(window.location.hash);
    const number = wanted ? Number(wanted[1]) - 1 : -1;
    if (this.numbers.includes(number)) this.open(number);
  }

  makeDialog() {
    this.title = make("h2", { id: "photo-dialog-title" });
    const button = (words, label, work) => {
      const made = make("button", { type: "button", class: "btn btn-sm btn-outline-secondary" }, words);
      if (label) made.setAttribute("aria-label", label);
      made.addEventListener("click", work);
      return made;
    };
    this.before = button("◀", t("Picture before"), () => this.step(-1));
    this.after = button("▶", t("Next picture"), () => this.step(1));
    const close = button(t("Close"), "", () => this.dialog.close());
    const head = make("header", {}, this.title, make("div", { class: "actions" }, this.before, this.after, close));
    this.picture = make("div", { class: "photo-large" });
    this.host = make("div", { class: "photo3d" });
    this.host.addEventListener("contextlost", () => this.fail3d(t("The graphics of this computer stopped.")));
    const turns = make(
      "div", { class: "photo-turns", role: "group", "aria-label": t("Turn the hand") },
      button("←", t("Turn to the left"), () => this.space?.turn(-1, 0)),
      button("→", t("Turn to the right"), () => this.space?.turn(1, 0)),
      button("↑", t("Turn upwards"), () => this.space?.turn(0, 1)),
      button("↓", t("Turn downwards"), () => this.space?.turn(0, -1)),
      button(t("As in the picture"), "", () => this.space?.reset()),
    );
    const switches = this.section.querySelector(".photo-switches")?.cloneNode(true) ?? "";
    this.facts = make("div", { class: "photo-facts" });
    const space = make("div", { class: "photo-space" }, this.host, turns);
    this.nearer = make("button", { type: "button", class: "choice-button photo-switch", "aria-pressed": "false" }, t("Nearer"));
    this.nearer.addEventListener("click", () => this.zoom(this.nearer.getAttribute("aria-pressed") !== "true"));
    if (switches) switches.append(this.nearer);
    const body = make("div", { class: "photo-body" }, make("div", {}, switches, this.picture), make("div", {}, space, this.facts));
    this.dialog = make("dialog", { class: "photo-dialog", "aria-labelledby": "photo-dialog-title" }, head, body);
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("keydown", (event) => {
      if (event.target.closest("input, select, textarea, canvas")) return;
      if (event.key === "ArrowLeft") this.step(-1);
      if (event.key === "ArrowRight") this.step(1);
    });
    this.element.append(this.dialog);
  }

  step(by) {
    const next = this.numbers[this.numbers.indexOf(this.number) + by];
    if (next !== undefined) this.open(next);
  }

  async open(number) {
    this.number = number;
    const name = this.section.querySelector(`[data-open="${number}"]`).dataset.name;
    this.title.textContent = name;
    this.title.classList.add("notranslate");
    this.before.disabled = number === this.numbers[0];
    this.after.disabled = number === this.numbers.at(-1);
    history.replaceState(history.state, "", `#p=${number + 1}`);
    this.picture.replaceChildren(make("div", { class: "loading" }, make("span", { class: "spinner", "aria-hidden": "true" }), t("Loading the picture")));
    this.facts.replaceChildren();
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const picture = await this.read(number);
      if (this.number !== number) return;
      this.drawPicture(picture);
      this.drawFacts(picture);
      await this.drawSpace(picture);
      this.dialog.dataset.shown = String(number);
    } catch (error) {
      if (error.name === "AbortError" || this.number !== number) return;
      this.picture.replaceChildren(make("p", { class: "notice notice-failed", role: "alert" }, t("The picture could not be loaded. {why}", { why: error.message })));
    }
  }

  closed() {
    this.space?.dispose();
    this.space = null;
    history.replaceState(history.state, "", window.location.pathname + window.location.search);
    this.section.querySelector(`[data-open="${this.number}"]`)?.focus();
  }

  drawPicture(picture) {
    const [width, height] = picture.size_px;
    const file = String(picture.number).padStart(3, "0");
    const { media } = this.element.dataset;
    const frame = make("div", { class: "photo-frame" });
    frame.style.aspectRatio = `${width} / ${height}`;
    frame.style.setProperty("--shape", String(width / height));
    frame.append(
      make("img", { src: `${media}picture_${file}.jpg`, alt: t("Picture {name}", { name: picture.name }), class: "photo" }),
      make("img", { src: `${media}mesh_${file}.png`, alt: "", class: "mesh" }),
      drawOverlay(picture, 0.002),
    );
    const pane = make("div", { class: "photo-window" }, frame);
    pane.style.aspectRatio = `${width} / ${height}`;
    pane.style.setProperty("--shape", String(width / height));
    this.picture.replaceChildren(pane);
    this.frame = frame;
    const near = findNear(picture);
    this.nearer.disabled = !near;
    this.near = near;
    this.zoom(Boolean(near) && near.scale >= 2);
  }

  /* Show the part of the picture that holds the hands, or the whole. */
  zoom(on) {
    this.nearer.setAttribute("aria-pressed", String(on));
    const { scale, x, y } = on ? this.near : { scale: 1, x: 0, y: 0 };
    this.frame.style.transform = `scale(${scale}) translate(${-100 * x}%, ${-100 * y}%)`;
  }

  async drawSpace(picture) {
    const fitted = picture.hands.map((hand, index) => ({ hand, index })).filter(({ hand }) => hand.joints_mm);
    this.host.parentElement.hidden = fitted.length === 0;
    if (!fitted.length) return;
    const { Photo3d } = await import("./photo3d.mjs");
    if (this.number !== picture.number || !this.dialog.open) return;
    try {
      if (!this.space) {
        this.host.replaceChildren();
        this.space = new Photo3d(this.host);
      }
    } catch (error) {
      this.fail3d(error.message);
      return;
    }
    const file = String(picture.number).padStart(3, "0");
    const hands = await Promise.all(
      fitted.map(async ({ hand, index }) => ({
        side: hand.side,
        joints: hand.joints_mm,
        sigma: hand.sigma_mm,
        wrist: hand.wrist_mm,
        vertices: new Float32Array(await this.blob(`vertices_${file}_${index}.f32`)),
        faces: await this.faces(hand.side),
      })),
    );
    if (this.number !== picture.number || !this.space) return;
    this.space.layers = this.layers;
    this.space.show(hands);
    this.host.dataset.hands = String(hands.length);
  }

  fail3d(why) {
    this.space?.dispose();
    this.space = null;
    this.host.replaceChildren(make("p", { class: "notice notice-failed", role: "alert" }, t("The hand in space cannot be shown: {why}", { why })));
  }

  async faces(side) {
    this.triangles ??= {};
    this.triangles[side] ??= this.blob(`faces_${side}.u32`).then((data) => new Uint32Array(data));
    return this.triangles[side];
  }

  async blob(name) {
    const answer = await fetch(this.element.dataset.media + name, { signal: this.aborter.signal });
    if (!answer.ok) throw new Error(t("The server answered with error {status}.", { status: answer.status }));
    return answer.arrayBuffer();
  }

  drawFacts(picture) {
    const parts = picture.hands.map((hand, index) => this.makeFacts(picture, hand, index));
    if (!parts.length) parts.push(make("p", { class: "notice notice-partial" }, t("No hand was found in this picture.")));
    const { files } = this.element.dataset;
    if (files && picture.hands.length) {
      const file = `points_${String(picture.number).padStart(3, "0")}.csv`;
      parts.push(make("p", {}, make("a", { href: files + file, download: file }, t("Points of this picture (CSV)"))));
    }
    this.facts.replaceChildren(...parts);
  }

  makeFacts(picture, hand, index) {
    const word = hand.side === "right" ? t("Right hand") : t("Left hand");
    const rows = [[t("Confidence"), say(hand.score, 2)]];
    if (hand.side_share !== null) {
      const [votes, of] = hand.side_votes;
      rows.push([t("Side"), t("{votes} of {of} passes, mean probability {share}", { votes, of, share: say(hand.side_share, 2) })]);
    }
    rows.push([t("Error of a point in the picture, median"), t("{value} px", { value: say(median(hand.sigma_px), 1) })]);
    if (hand.joints_mm) {
      const across = hand.sigma_mm.slice(1).map(([x, y]) => Math.hypot(x, y) / Math.SQRT2);
      const along = hand.sigma_mm.slice(1).map((each) => each[2]);
      rows.push([t("Distance of the hand model from the points"), t("{value} px", { value: say(hand.reprojection_px, 1) })]);
      rows.push([t("Error in space across the view, median"), t("{value} mm", { value: say(median(across), 1) })]);
      rows.push([t("Error in space along the view, median"), t("{value} mm", { value: say(median(along), 1) })]);
      const { length, scale } = this.element.dataset;
      const basis = scale === "stated" ? t("stated hand length {length} mm", { length }) : t("average hand, {length} mm: the true scale is not known", { length });
      rows.push([t("Scale"), basis]);
    }
    const lens = { picture: t("said by the picture"), settings: t("stated"), assumed: t("assumed") }[picture.focal_source];
    rows.push([t("Lens"), t("{value} mm as on 35 mm film, {source}", { value: say(picture.focal_35mm, 0), source: lens })]);
    if (hand.second_look) rows.push([t("Found"), t("only in a part of the picture, not in the whole")]);
    const list = make("dl", { class: "facts" });
    for (const [name, value] of rows) list.append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
    const title = picture.hands.length > 1 ? `${word} ${index + 1}` : word;
    const faults = hand.failures.map((failure) => make("li", {}, sayReason(failure.reason)));
    const notes = faults.length ? [make("p", {}, t("Likely faults:")), make("ul", {}, ...faults)] : [];
    if (hand.fault) notes.push(make("p", { class: "notice notice-partial" }, t("This hand could not be fitted in space.")));
    return make("section", { class: `photo-hand side-${hand.side}` }, make("h3", {}, title), list, ...notes);
  }
}

function sayReason(reason) {
  return {
    truncated: t("Cut off at the picture's edge"),
    blurred: t("Blurred"),
    "low confidence": t("Low confidence of the network"),
    "sides disagree": t("Sides disagree"),
    occluded: t("Covered by something"),
  }[reason];
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
