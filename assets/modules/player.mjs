/* The player: one video of all cameras, overlays on it, the 3D hand beside it, one clock for all.
 *
 * <div data-module="player" id="player" data-base="/media/RUN/web" data-title="Visit of ...">
 *   data-follow="other-id" data-offset="0"   plays beside another player (comparison)
 *   data-links="true"                        keeps the address at the moment shown
 *   data-playhead="store-id"                 a Dash store that hears of the frame, at most four times a second
 */

import { Clock, enter, follow, leave, whenPlayer } from "./clock.mjs";
import { loadArray, loadIndex } from "./data.mjs";
import { COLOURINGS, Hand3d } from "./hand3d.mjs";
import { HELP, SPEEDS, listenToKeys } from "./keys.mjs";
import { copyMoment, linkClock } from "./links.mjs";
import { Overlays } from "./overlays.mjs";

const TELL_DASH_MS = 250;
const NARROW_PX = 620;

const ICONS = {
  first: "M3 2h2v12H3zM14 2v12L6 8z",
  back: "M11 2v12L3 8zM12 2h2v12h-2z",
  play: "M4 2l10 6-10 6z",
  pause: "M3 2h4v12H3zM9 2h4v12H9z",
  on: "M5 2v12l8-6zM2 2h2v12H2z",
  last: "M11 2h2v12h-2zM2 2v12l8-6z",
  link: "M6.5 9.5a3 3 0 0 0 4.2 0l2.6-2.6a3 3 0 0 0-4.2-4.2l-1 1 1 1 1-1a1.6 1.6 0 0 1 2.2 2.2L9.700 8.500a1.600 1.600 0 0 1-2.200 0zM9.500 6.500a3 3 0 0 0-4.200 0L2.700 9.100a3 3 0 0 0 4.200 4.200l1-1-1-1-1 1a1.600 1.600 0 0 1-2.200-2.200L6.300 7.500a1.600 1.600 0 0 1 2.200 0z",
};

function make(tag, attributes = {}, ...children) {
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

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

function button(label, onclick, { image = null, text = null, ...attributes } = {}) {
  const made = make("button", { type: "button", class: "player-button", title: label, "aria-label": label, onclick, ...attributes });
  made.append(image ? icon(image) : (text ?? label));
  return made;
}

function choice(label, options, chosen, onchange) {
  const select = make("select", { class: "player-select", "aria-label": label, onchange: (event) => onchange(event.target.value) });
  for (const [value, text] of options) select.append(make("option", { value, selected: value === chosen }, text));
  return make("label", { class: "player-choice" }, make("span", { text: label }), select);
}

function toggle(label, checked, onchange) {
  const box = make("input", { type: "checkbox", checked, onchange: (event) => onchange(event.target.checked) });
  return make("label", { class: "player-toggle" }, box, make("span", { text: label }));
}

function readOffset(element) {
  const seconds = Number(element.dataset.offset ?? 0);
  return Number.isFinite(seconds) ? seconds : 0;
}

class Player {
  constructor(element) {
    this.element = element;
    this.id = element.id;
    this.abort = new AbortController();
    this.endings = [];
    this.alone = -1; // the camera that is enlarged; -1 = all
    this.offsetS = readOffset(element);
    this.root = make("div", { class: "player" });
    element.append(this.root);
  }

  async start() {
    const slow = setTimeout(() => this.#say("Loading the recording's video and 3D hand …", "loading"), 300);
    try {
      this.index = await loadIndex(this.element.dataset.base, this.abort.signal);
      await this.#build();
    } finally {
      clearTimeout(slow);
    }
    this.message?.remove();
  }

  fail(error) {
    this.dispose();
    this.root.replaceChildren();
    this.element.append(this.root);
    this.#say(`The player could not start: ${error.message}.`, "failed");
    this.message.append(button("Try again", () => remount(this.element)));
  }

  #say(text, kind) {
    this.message?.remove();
    this.message = make("div", { class: `player-message player-message-${kind}`, role: kind === "failed" ? "alert" : "status" }, make("p", { text }));
    this.root.append(this.message);
  }

  async #build() {
    const { index } = this;
    const [width, height] = index.mosaic.size_px;
    this.video = make("video", {
      class: "player-video", src: `${index.base}/${index.mosaic.file}`, preload: "auto", playsinline: true, muted: true,
      "aria-label": `Video of cameras ${index.cameras.map((camera) => camera.name).join(", ")}`,
    });
    this.video.muted = true;
    this.canvas = make("canvas", { class: "player-overlay", "aria-hidden": "true" });
    this.labels = make("div", { class: "player-labels" });
    this.hand = make("div", { class: "player-hand" });
    this.picture = make("div", { class: "player-picture" }, this.video, this.canvas, this.labels);
    this.stage = make("div", { class: "player-stage" }, this.picture, this.hand);
    // A grid with its last place free has the 3D hand there: everything at one glance.
    this.freeCell = index.cameras.length < index.mosaic.columns * index.mosaic.rows;
    this.stage.style.setProperty("--mosaic-ratio", `${width} / ${height}`);

    this.clock = new Clock(this.video, index.rate, index.n_frames);
    this.hand3d = new Hand3d(this.hand, index, this.abort.signal, () => this.#draw(this.clock.frame));
    const [shown, tracks, times] = await Promise.all([this.#loadShown(), this.#loadTracks(), loadArray(index, "time_s.f32", this.abort.signal)]);
    this.times = times;
    this.overlays = new Overlays(this.canvas, index, tracks, shown);
    this.root.append(this.stage, this.#makeBar(), this.#makeSettings());
    this.root.setAttribute("role", "group");
    this.root.setAttribute("tabindex", "0");
    this.root.setAttribute("aria-label", `Player: ${this.element.dataset.title ?? "recording"}. Press ? for the keys.`);
    this.picture.addEventListener("click", (event) => this.#clickPicture(event));
    this.stage.addEventListener("dblclick", () => this.root.focus());
    await this.#start3d();

    this.endings.push(this.clock.subscribe((frame) => this.#draw(frame)));
    this.endings.push(this.clock.watch(() => this.#showState()));
    if (!this.element.dataset.follow) this.endings.push(listenToKeys(this.root, this));
    const observer = new ResizeObserver(() => this.#arrange());
    observer.observe(this.root);
    this.endings.push(() => observer.disconnect());
    this.#arrange();
    await this.#firstFrame();
    if (this.element.dataset.links) this.endings.push(linkClock(this.clock, index.joints, this.element));
    if (this.element.dataset.follow) this.#follow();
    enter(this.id, this);
    this.element.dataset.ready = "true";
  }

  async #loadShown() {
    const arrays = await Promise.all(this.index.cameras.map((camera, n) => loadArray(this.index, `shown_${n}.i32`, this.abort.signal)));
    return Object.fromEntries(this.index.cameras.map(({ name }, i) => [name, arrays[i]]));
  }

  async #loadTracks() {
    const wanted = [];
    for (const side of this.index.sides) {
      this.index.cameras.forEach(({ name }, n) => {
        for (const kind of ["measured", "reprojected"]) {
          const file = `${kind}_${side}_${n}.i16`;
          if (this.index.files[file]) wanted.push({ camera: name, kind, side, file });
        }
      });
    }
    const arrays = await Promise.all(wanted.map(({ file }) => loadArray(this.index, file, this.abort.signal)));
    return wanted.map((track, i) => ({ ...track, values: arrays[i] }));
  }

  async #start3d() {
    try {
      await this.hand3d.start();
      this.hand.addEventListener("contextlost", () => this.#lose3d("The graphics of this page were taken away by the browser."));
      this.hand.addEventListener("freeview", () => { this.viewSelect.value = this.hand3d?.follows === false ? "fixed" : "follow"; });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.#lose3d(`The 3D hand needs WebGL (${error.message}). Switch on hardware acceleration or WebGL in the browser.`);
    }
  }

  #lose3d(text) {
    this.hand3d?.dispose();
    this.hand3d = null;
    const again = button("Try again", async () => {
      this.hand.replaceChildren();
      this.hand3d = new Hand3d(this.hand, this.index, this.abort.signal, () => this.#draw(this.clock.frame));
      await this.#start3d();
      this.#draw(this.clock.frame);
    });
    this.hand.replaceChildren(make("div", { class: "player-message player-message-failed", role: "alert" }, make("p", { text }), again));
  }

  /* Resolves when the first frame is on the screen, or rejects with the reason why none can be. */
  #firstFrame() {
    return new Promise((resolve, reject) => {
      const stop = this.clock.subscribe(() => {
        queueMicrotask(() => stop());
        resolve();
      });
      const refuse = () => reject(new Error("the video cannot be played by this browser (H.264 is needed)"));
      this.video.addEventListener("error", refuse, { once: true });
      this.abort.signal.addEventListener("abort", () => reject(new DOMException("left", "AbortError")));
    });
  }

  #follow() {
    whenPlayer(this.element.dataset.follow).then((leader) => {
      if (this.abort.signal.aborted) return;
      this.leader = leader;
      this.following = follow(leader.clock, this.clock, this.offsetS);
      this.endings.push(() => this.following.end());
      const observer = new MutationObserver(() => this.setOffset(readOffset(this.element)));
      observer.observe(this.element, { attributes: true, attributeFilter: ["data-offset"] });
      this.endings.push(() => observer.disconnect());
      // Its own keys move the clock that both follow; cameras are enlarged where the focus is.
      const keys = { clock: leader.clock, solo: (number) => this.solo(number), showHelp: () => this.showHelp() };
      this.endings.push(listenToKeys(this.root, keys));
    });
  }

  /* How far this player is ahead of the one it follows, in s; may change at any time. */
  setOffset(seconds) {
    this.offsetS = seconds;
    this.following?.setOffset(seconds);
    this.element.dispatchEvent(new CustomEvent("offset", { detail: seconds }));
  }

  #makeBar() {
    const { clock, index } = this;
    this.playButton = button("Play", () => clock.toggle(), { image: "play", class: "player-button player-play" });
    this.slider = make("input", {
      type: "range", class: "player-slider", min: 0, max: index.n_frames - 1, step: 1, value: 0, "aria-label": "Frame",
      oninput: (event) => { clock.pause(); clock.seek(Number(event.target.value)); },
    });
    this.loopMark = make("div", { class: "player-loop", hidden: true });
    this.readout = make("output", { class: "player-readout", "aria-live": "off" });
    const track = make("div", { class: "player-track" }, this.loopMark, this.slider);
    const follows = Boolean(this.element.dataset.follow);
    const bar = make("div", { class: "player-bar" },
      button("First frame", () => clock.seek(0), { image: "first" }),
      button("One frame back", () => clock.step(-1), { image: "back" }),
      this.playButton,
      button("One frame on", () => clock.step(1), { image: "on" }),
      button("Last frame", () => clock.seek(index.n_frames - 1), { image: "last" }),
      track, this.readout);
    bar.hidden = follows; // the leader's bar drives both
    return bar;
  }

  #makeSettings() {
    const { clock, index } = this;
    this.speed = choice("Speed", SPEEDS.map((speed) => [String(speed), `${speed} ×`]), "1", (value) => clock.setRate(Number(value)));
    this.panels = make("div", { class: "player-panels", role: "group", "aria-label": "Cameras" });
    this.panels.append(button("All cameras", () => this.solo(-1), { text: "All" }));
    index.cameras.forEach((camera, i) => this.panels.append(button(`Enlarge ${camera.name}`, () => this.solo(i), { text: camera.name })));
    const loop = make("div", { class: "player-panels", role: "group", "aria-label": "Loop" },
      button("Start of the loop here", () => clock.setLoop(clock.heading, clock.loop[1]), { text: "[" }),
      button("End of the loop here", () => clock.setLoop(clock.loop[0] ?? 0, clock.heading), { text: "]" }),
      button("No loop", () => clock.setLoop(null, null), { text: "No loop" }));
    const views = [["follow", "Follows the hand"], ["fixed", "Whole movement"], ...index.cameras.filter((camera) => camera.K).map(({ name }) => [name, `Through ${name}`])];
    const view = choice("3D view", views, "follow", (name) => this.#look(name));
    this.viewSelect = view.querySelector("select");
    const colours = Object.entries(COLOURINGS).map(([name, { label }]) => [name, label]);
    this.legend = make("div", { class: "player-legend" });
    this.speed.hidden = loop.hidden = Boolean(this.element.dataset.follow); // the leader's hold for both
    const settings = make("div", { class: "player-settings" },
      this.panels, this.speed, loop,
      toggle("Skeleton", true, (on) => this.#setOverlay("reprojected", on)),
      toggle("Measured points", false, (on) => this.#setOverlay("measured", on)),
      toggle("Sound", false, (on) => { this.video.muted = !on; }),
      view, button("Reset view of the 3D hand", () => this.hand3d?.reset(), { text: "Reset view" }),
      choice("Hand colour", colours, "jerk", (name) => this.#setColouring(name)),
      this.legend);
    if (this.element.dataset.links) {
      this.copyButton = button("Copy link to this moment", () => this.#copy(), { text: "Copy link", class: "player-button player-copy" });
      settings.append(this.copyButton);
    }
    settings.append(button("Keys", () => this.showHelp(), { text: "?" }));
    this.#showLegend("jerk");
    return settings;
  }

  #look(name) {
    if (name === "follow" || name === "fixed") this.hand3d?.reset(name === "follow");
    else this.hand3d?.lookThrough(name);
  }

  #setOverlay(kind, on) {
    this.overlays.visible[kind] = on;
    this.#draw(this.clock.frame);
  }

  #setColouring(name) {
    this.hand3d?.setColouring(name);
    this.#showLegend(name);
  }

  #showLegend(name) {
    const range = this.index.ranges[this.index.sides[0]][name];
    this.legend.replaceChildren();
    if (!range) return;
    if (name === "z") {
      for (const [kind, text] of [["within", "within 1 SD"], ["between", "1 to 3 SD"], ["beyond", "3 SD or more"]]) {
        this.legend.append(make("span", { class: `legend-item legend-${kind}` }, make("i", { "aria-hidden": "true" }), text));
      }
    } else {
      const [low, high] = name === "jerk" ? ["smooth", "jerky"] : [`${range.low}`, `${range.high} ${range.unit}`];
      this.legend.append(make("span", { text: low }), make("i", { class: "legend-ramp", "aria-hidden": "true" }), make("span", { text: high }));
      if (name === "jerk") this.legend.append(make("span", { class: "legend-note", text: "relative to this recording" }));
    }
    this.legend.append(make("span", { class: "legend-item legend-unknown" }, make("i", { "aria-hidden": "true" }), "cannot tell"));
  }

  /* Enlarge one camera; -1 or the one that is enlarged already shows all. */
  solo(number) {
    if (number >= this.index.cameras.length) return;
    this.alone = number === this.alone ? -1 : number;
    this.chosen = true;
    this.#arrange();
  }

  #clickPicture(event) {
    this.root.focus({ preventScroll: true });
    if (this.alone >= 0) return this.solo(-1);
    const box = this.picture.getBoundingClientRect();
    const [width, height] = this.index.mosaic.size_px;
    const x = ((event.clientX - box.left) / box.width) * width;
    const y = ((event.clientY - box.top) / box.height) * height;
    const hit = this.index.cameras.findIndex(({ panel_px: [left, top, w, h] }) => x >= left && x < left + w && y >= top && y < top + h);
    if (hit >= 0) this.solo(hit);
  }

  /* Lay out video, overlay and 3D hand for the width there is. */
  #arrange() {
    const { index, stage, video } = this;
    const narrow = this.root.clientWidth < NARROW_PX;
    if (narrow && !this.chosen && this.alone < 0) this.alone = index.cameras.findIndex(({ name }) => name === index.reference);
    if (!narrow && !this.chosen) this.alone = -1;
    const [mosaicWidth, mosaicHeight] = index.mosaic.size_px;
    const camera = this.alone >= 0 ? index.cameras[this.alone] : null;
    const window = camera ? camera.panel_px : [0, 0, mosaicWidth, mosaicHeight];
    const layout = narrow ? "stacked" : camera ? "solo" : this.freeCell ? "cell" : "beside";
    stage.dataset.layout = layout;
    this.picture.style.aspectRatio = `${window[2]} / ${window[3]}`;
    video.style.width = `${(mosaicWidth / window[2]) * 100}%`;
    video.style.height = `${(mosaicHeight / window[3]) * 100}%`;
    video.style.left = `${(-window[0] / window[2]) * 100}%`;
    video.style.top = `${(-window[1] / window[3]) * 100}%`;
    if (layout === "cell") {
      const across = 100 / index.mosaic.columns;
      const down = 100 / index.mosaic.rows;
      Object.assign(this.hand.style, { width: `${across}%`, height: `${down}%` });
    } else Object.assign(this.hand.style, { width: "", height: "" });
    this.labels.replaceChildren(...(camera ? [camera] : index.cameras).map(({ name, panel_px: [x, y] }) => {
      const label = make("span", { text: name });
      label.style.left = `${((x - window[0]) / window[2]) * 100}%`;
      label.style.top = `${((y - window[1]) / window[3]) * 100}%`;
      return label;
    }));
    [...this.panels.children].forEach((item, i) => item.setAttribute("aria-pressed", String(i - 1 === this.alone)));
    this.overlays.fit(window);
    if (this.clock.frame >= 0) this.overlays.draw(this.clock.frame, this.clock.joint);
  }

  #draw(frame) {
    if (frame < 0) return;
    this.overlays.draw(frame, this.clock.joint);
    const complete = this.hand3d ? this.hand3d.draw(frame, this.clock.joint) : true;
    this.hand.classList.toggle("is-late", !complete);
    this.slider.value = String(frame);
    this.slider.setAttribute("aria-valuetext", `frame ${frame}, ${this.times[frame].toFixed(3)} s`);
    this.readout.textContent = `${this.times[frame].toFixed(3)} s · frame ${frame} of ${this.index.n_frames - 1}`;
    this.element.dataset.frame = String(frame);
    this.#tellDash();
  }

  #showState() {
    const { clock } = this;
    if (this.wasPlaying !== clock.playing) {
      this.wasPlaying = clock.playing;
      const label = clock.playing ? "Pause" : "Play";
      this.playButton.replaceChildren(icon(clock.playing ? "pause" : "play"));
      this.playButton.title = label;
      this.playButton.setAttribute("aria-label", label);
    }
    this.speed.querySelector("select").value = String(clock.rate);
    const [start, end] = clock.loop;
    this.loopMark.hidden = start === null && end === null;
    const last = this.index.n_frames - 1;
    this.loopMark.style.left = `${((start ?? 0) / last) * 100}%`;
    this.loopMark.style.right = `${100 - ((end ?? last) / last) * 100}%`;
    this.element.dataset.playing = String(clock.playing);
  }

  /* Dash hears where the playhead is, at most four times a second; it never drives anything from it. */
  #tellDash() {
    const store = this.element.dataset.playhead;
    if (!store || this.telling) return;
    this.telling = setTimeout(() => {
      this.telling = null;
      window.dash_clientside?.set_props(store, { data: { frame: this.clock.frame, joint: this.clock.joint } });
    }, TELL_DASH_MS);
  }

  async #copy() {
    const { url, copied } = await copyMoment(this.clock);
    const text = copied ? "Link copied" : "Copy it from the address bar";
    if (!copied) history.replaceState(history.state, "", url);
    this.copyButton.textContent = text;
    window.redys?.say(text);
    setTimeout(() => { this.copyButton.textContent = "Copy link"; }, 2000);
  }

  showHelp() {
    if (!this.help) {
      const list = make("dl", { class: "player-keys" });
      for (const [key, text] of HELP) list.append(make("dt", { text: key }), make("dd", { text }));
      const close = button("Close", () => this.help.close());
      this.help = make("dialog", { class: "player-help", "aria-label": "Keys of the player" }, make("h3", { text: "Keys" }),
        make("p", { text: "They act while the player has the focus." }), list, close);
      this.help.addEventListener("close", () => this.root.focus({ preventScroll: true }));
      this.root.append(this.help);
    }
    this.help.showModal();
  }

  dispose() {
    this.abort.abort();
    clearTimeout(this.telling);
    for (const end of this.endings) end();
    this.endings = [];
    this.clock?.dispose();
    this.hand3d?.dispose();
    this.hand3d = null;
    if (this.video) {
      this.video.pause();
      this.video.removeAttribute("src");
      this.video.load(); // lets go of the decoder and the connection at once
    }
    leave(this.id);
    this.root.remove();
    delete this.element.dataset.ready;
  }
}

const mounted = new Map();

export async function mount(element) {
  const player = new Player(element);
  mounted.set(element, player);
  try {
    await player.start();
  } catch (error) {
    if (error.name === "AbortError") return;
    console.warn(`Player: ${error.message}`);
    player.fail(error);
  }
}

export function unmount(element) {
  mounted.get(element)?.dispose();
  mounted.delete(element);
}

/* Set how far the player with that id is ahead of the one it follows, in s; resolves once that player is there. */
export async function setFollowOffset(id, offsetS) {
  if (!Number.isFinite(offsetS)) throw new Error("An offset is a number of seconds");
  const player = await whenPlayer(id);
  player.setOffset(offsetS);
}

function remount(element) {
  unmount(element);
  return mount(element);
}
