/* The player: one video of all cameras, overlays on it, the 3D hand beside it, one clock for all.
 *
 * <div data-module="player" id="player" data-base="/media/RUN/web" data-title="Visit of ...">
 *   data-follow="other-id" data-offset="0"   plays beside another player (comparison); the offset may change
 *   data-links="true"                        keeps the address at the moment shown, and offers it as a link
 *   data-links="page"                        the same, but the address is of no use to others
 *   data-playhead="store-id"                 a Dash store that hears of the frame when it rests
 *   data-events="[...]"                      flagged events (moments.mjs)
 *
 * Once it is ready the element has data-ready; data-frame is the frame that everything shows, and data-late is
 * there while data of that frame are still on their way.
 */

import { Clock, enter, follow, leave, whenPlayer } from "./clock.mjs";
import { button, choice, icon, make, toggle } from "./controls.mjs";
import { loadArray, loadIndex } from "./data.mjs";
import { ReferenceGhost, VisitGhost } from "./ghost.mjs";
import { COLOURINGS, Hand3d } from "./hand3d.mjs";
import { HELP, SPEEDS, areSingleKeysOn, listenToKeys, setSingleKeys } from "./keys.mjs";
import { copyMoment, linkClock, parseMoment } from "./links.mjs";
import { Moments } from "./moments.mjs";
import { Overlays } from "./overlays.mjs";
import { say, t } from "./words.mjs";

const TELL_DASH_MS = 250;
const READ_MS = 100; // while playing, from one change of the time in figures to the next: faster cannot be read
const AGAIN_MS = 1000; // until data that could not be fetched are asked for again
const FILL_AFTER_MS = 2000; // once all is shown, until what a later seek will need is fetched
const SAID_MS = 4000; // how long the line below the picture says what was just done
const NARROW_PX = 620;

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
    this.ghostKind = "none";
    this.colouring = "jerk";
    this.readAt = 0;
    this.root = make("div", { class: "player" });
    element.append(this.root);
  }

  async start() {
    const slow = setTimeout(() => this.#say(t("Loading the recording's video and 3D hand …"), "loading"), 300);
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
    this.#say(t("The player could not start: {reason}.", { reason: error.message }), "failed");
    this.message.append(button(t("Try again"), () => remount(this.element)));
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
      "aria-label": t("Video of cameras {names}", { names: index.cameras.map((camera) => camera.name).join(", ") }),
      "aria-hidden": index.cameras.length ? "false" : "true", // of a shared hand without pictures it only keeps the time
    });
    this.video.muted = true;
    this.canvas = make("div", { class: "player-overlay", "aria-hidden": "true" });
    this.labels = make("div", { class: "player-labels" });
    this.hand = make("div", { class: "player-hand" });
    this.picture = make("div", { class: "player-picture" }, this.video, this.canvas, this.labels);
    this.stage = make("div", { class: "player-stage" }, this.picture, this.hand);
    // A grid with its last place free has the 3D hand there: everything at one glance.
    this.freeCell = index.cameras.length < index.mosaic.columns * index.mosaic.rows;
    this.stage.style.setProperty("--mosaic-ratio", `${width} / ${height}`);

    this.clock = new Clock(this.video, index.rate, index.n_frames);
    this.moments = new Moments(this.element, this.clock);
    this.arrived = (error) => this.#drawLate(error);
    this.hand3d = new Hand3d(this.hand, index, this.abort.signal, this.arrived);
    this.root.append(this.stage);
    const started = this.#start3d();
    const [shown, times] = await Promise.all([this.#loadShown(), loadArray(index, "time_s.f32", this.abort.signal)]);
    this.times = times;
    this.overlays = new Overlays(this.canvas, index, shown, this.abort.signal, this.arrived);
    const { frame } = parseMoment(location.hash, index.n_frames, index.joints);
    this.overlays.fetch(frame ?? 0); // before the video shows it
    this.root.append(this.#makeBar(), this.#makeSections(), this.#makeSettings());
    this.root.setAttribute("role", "group");
    this.root.setAttribute("tabindex", "0");
    this.root.setAttribute("aria-label", t("Player: {title}. The button ? lists its keys.", { title: this.element.dataset.title ?? t("recording") }));
    this.picture.addEventListener("click", (event) => this.#clickPicture(event));
    this.stage.addEventListener("dblclick", () => this.root.focus());
    await started;
    this.hand3d?.fetch(frame ?? 0);

    this.endings.push(this.clock.subscribe((frame) => this.#draw(frame)));
    this.endings.push(this.clock.watch(() => this.#showState()));
    if (!this.element.dataset.follow) this.endings.push(listenToKeys(this.root, this));
    const observer = new ResizeObserver(() => this.#arrange());
    observer.observe(this.root);
    this.endings.push(() => observer.disconnect());
    this.#arrange();
    await this.#firstFrame();
    await this.#firstWhole();
    if (this.element.dataset.links) this.endings.push(linkClock(this.clock, index.joints, this.element));
    if (this.element.dataset.follow) this.#follow();
    enter(this.id, this);
    this.element.dataset.ready = "true";
    this.filling = setTimeout(() => this.#fill(), FILL_AFTER_MS);
  }

  async #loadShown() {
    const arrays = await Promise.all(this.index.cameras.map((camera, n) => loadArray(this.index, `shown_${n}.i32`, this.abort.signal)));
    return Object.fromEntries(this.index.cameras.map(({ name }, i) => [name, arrays[i]]));
  }

  async #start3d() {
    try {
      await this.hand3d.start();
      this.hand.addEventListener("contextlost", () => this.#lose3d(t("The graphics of this page were taken away by the browser.")));
      this.hand.addEventListener("freeview", () => { this.viewSelect.value = this.hand3d?.follows === false ? "fixed" : "follow"; });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.#lose3d(t("The 3D hand needs WebGL ({reason}). Switch on hardware acceleration or WebGL in the browser.", { reason: error.message }));
    }
  }

  #lose3d(text) {
    this.hand3d?.dispose();
    this.hand3d = null;
    const again = button(t("Try again"), async () => {
      this.hand.replaceChildren();
      this.hand3d = new Hand3d(this.hand, this.index, this.abort.signal, this.arrived);
      await this.#start3d();
      this.hand3d?.setColouring(this.colouring);
      await this.#setGhost(this.ghostKind);
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
      const refuse = () => reject(new Error(t("the video cannot be played by this browser (H.264 is needed)")));
      this.video.addEventListener("error", refuse, { once: true });
      this.abort.signal.addEventListener("abort", () => reject(new DOMException("left", "AbortError")));
    });
  }

  /* Resolves when everything of a frame is drawn, or rejects with the reason why a part cannot come. */
  #firstWhole() {
    return new Promise((resolve, reject) => {
      const settle = (act) => (value) => {
        this.settle = null;
        act(value);
      };
      this.settle = { whole: settle(resolve), broken: settle(reject) };
      if (!this.element.hasAttribute("data-late")) this.settle.whole();
      this.abort.signal.addEventListener("abort", () => reject(new DOMException("left", "AbortError")));
    });
  }

  /* One file after the other, so that what is being watched comes first. */
  async #fill() {
    const streams = [...this.overlays.tracks.map((track) => track.stream), ...(this.hand3d?.smallStreams ?? [])];
    try {
      for (const stream of streams) await stream.fill?.();
    } catch (error) {
      if (error.name !== "AbortError") console.warn(error.message); // its pieces come one by one then
    }
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
      this.#addPartner(leader, (frame) => {
        const timeS = (frame + 0.5) / this.clock.fps - this.offsetS;
        return Math.floor(timeS * leader.clock.fps + 1e-6);
      });
      leader.#addPartner(this, (frame) => Math.floor(this.following.wantedS(frame) * this.clock.fps + 1e-6));
      // Its own keys move the clock that both follow; cameras are enlarged where the focus is.
      const keys = {
        clock: leader.clock,
        solo: (number) => this.solo(number),
        showHelp: () => this.showHelp(),
        toggleFull: () => this.toggleFull(),
        goToEvent: (direction) => leader.goToEvent(direction),
        loopEvent: () => leader.loopEvent(),
      };
      this.endings.push(listenToKeys(this.root, keys));
    });
  }

  /* The other visit of a comparison; `frameOf` is its frame at the same moment as one of ours. */
  #addPartner(other, frameOf) {
    if (!this.index.sides.some((side) => other.index.sides.includes(side))) return;
    this.partner = { index: other.index, title: other.element.dataset.title ?? "", frameOf: (frame) => {
      const found = frameOf(frame);
      return found >= 0 && found < other.index.n_frames ? found : null;
    } };
    this.ghostSelect.append(make("option", { value: "visit", text: t("The other visit") }));
  }

  /* How far this player is ahead of the one it follows, in s; may change at any time. */
  setOffset(seconds) {
    this.offsetS = seconds;
    this.following?.setOffset(seconds);
    if (this.leader) this.leader.#draw(this.leader.clock.frame); // its ghost is of another frame now
    if (this.overlays) this.#draw(this.clock.frame);
  }

  #makeBar() {
    const { clock, index } = this;
    this.playButton = button(t("Play"), () => clock.toggle(), { image: "play", class: "player-button player-play" });
    this.slider = make("input", {
      type: "range", class: "player-slider", min: 0, max: index.n_frames - 1, step: 1, value: 0, "aria-label": t("Frame"),
      oninput: (event) => { clock.pause(); clock.seek(Number(event.target.value)); },
      onpointerdown: (event) => event.shiftKey && this.#dragLoop(event),
    });
    this.loopMark = make("div", { class: "player-loop", hidden: true });
    this.readout = make("output", { class: "player-readout", "aria-live": "off" }, "");
    const marks = make("div", { class: "player-marks" }, this.moments.marks(), this.loopMark);
    const track = make("div", { class: "player-track" }, marks, this.slider);
    const bar = make("div", { class: "player-bar" },
      button(t("First frame"), () => clock.seek(0), { image: "first" }),
      button(t("One frame back"), () => clock.step(-1), { image: "back" }),
      this.playButton,
      button(t("One frame on"), () => clock.step(1), { image: "on" }),
      button(t("Last frame"), () => clock.seek(index.n_frames - 1), { image: "last" }),
      track, this.readout);
    bar.hidden = Boolean(this.element.dataset.follow); // the leader's bar drives both
    return bar;
  }

  /* Loops and events: what is played over and over, and what is worth looking at. */
  #makeSections() {
    const { clock } = this;
    this.noLoop = button(t("No loop"), () => clock.setLoop(null, null));
    this.said = make("span", { class: "player-said" });
    const row = make("div", { class: "player-settings player-sections" },
      make("div", { class: "player-panels", role: "group", "aria-label": t("Loop") },
        button(t("Loop from here"), () => clock.loopFrom(clock.heading)),
        button(t("Loop to here"), () => clock.loopTo(clock.heading)),
        this.noLoop));
    if (this.moments.list.length) {
      row.append(make("div", { class: "player-panels", role: "group", "aria-label": t("Events") },
        button(t("Previous event"), () => this.goToEvent(-1)),
        button(t("Next event"), () => this.goToEvent(1)),
        button(t("Loop this event"), () => this.loopEvent())),
        this.moments.legend());
    }
    row.append(this.said);
    row.hidden = Boolean(this.element.dataset.follow); // the leader's hold for both
    return row;
  }

  #makeSettings() {
    const { clock, index } = this;
    this.speed = choice(t("Speed"), SPEEDS.map((speed) => [String(speed), `${say(speed)} ×`]), "1", (value) => clock.setRate(Number(value)));
    this.speed.hidden = Boolean(this.element.dataset.follow);
    this.panels = make("div", { class: "player-panels", role: "group", "aria-label": t("Cameras") });
    this.panels.append(button(t("All cameras"), () => this.solo(-1), { text: t("All") }));
    index.cameras.forEach(({ name }, i) => this.panels.append(button(t("Enlarge {camera}", { camera: name }), () => this.solo(i), { text: name })));
    const views = [
      ["follow", t("Follows the hand")],
      ["fixed", t("Whole movement")],
      ...index.cameras.filter((camera) => camera.K).map(({ name }) => [name, t("Through {camera}", { camera: name })]),
    ];
    const view = choice(t("3D view"), views, "follow", (name) => this.#look(name));
    this.viewSelect = view.querySelector("select");
    this.legend = make("div", { class: "player-legend" });
    const ghosts = [["none", t("None")]];
    if (!index.shared) ghosts.push(["reference", t("The reference's mean posture")]);
    const ghost = choice(t("Ghost"), ghosts, "none", (kind) => this.#setGhost(kind));
    this.ghostSelect = ghost.querySelector("select");
    this.ghostNote = make("span", { class: "player-ghost-note", role: "status" });
    const settings = make("div", { class: "player-settings" },
      ...(index.cameras.length ? [this.panels] : []), this.speed, ...this.#makeToggles(),
      view, button(t("Reset view of the 3D hand"), () => this.hand3d?.reset(), { text: t("Reset view") }),
      choice(t("Hand colour"), Object.entries(COLOURINGS), "jerk", (name) => this.#setColouring(name)),
      this.legend, ghost);
    if (this.element.dataset.links === "true") {
      this.copyButton = button(t("Copy link to this moment"), () => this.#copy(), { text: t("Copy link"), class: "player-button player-copy" });
      settings.append(this.copyButton);
    }
    if (document.fullscreenEnabled) settings.append(button(t("Full screen"), () => this.toggleFull(), { image: "full" }));
    settings.append(button(t("Keys"), () => this.showHelp(), { text: "?" }), this.ghostNote);
    this.#showLegend("jerk");
    return settings;
  }

  /* What is laid over the pictures, and the sound; what is shared with others has not all of it. */
  #makeToggles() {
    const skeleton = toggle(t("Skeleton"), true, (on) => this.#setOverlay("reprojected", on));
    if (this.index.shared) return this.overlays.has("reprojected") ? [skeleton] : [];
    return [
      skeleton,
      this.#makeOutlineToggle(),
      toggle(t("Measured points"), false, (on) => this.#setOverlay("measured", on)),
      toggle(t("Sound"), false, (on) => { this.video.muted = !on; }),
    ];
  }

  /* A run from before there were outlines says so. */
  #makeOutlineToggle() {
    const made = toggle(t("Outline"), false, (on) => this.#setOverlay("outline", on));
    if (!this.overlays.has("outline")) {
      made.querySelector("input").disabled = true;
      made.append(make("span", { class: "legend-note", text: t("not in this run: run the pipeline again") }));
    }
    return made;
  }

  /* Shift and drag on the seek bar: the section under the drag becomes the loop. */
  #dragLoop(event) {
    event.preventDefault();
    const { clock, slider } = this;
    const box = slider.getBoundingClientRect();
    const frameAt = ({ clientX }) => {
      const share = Math.min(Math.max((clientX - box.left) / box.width, 0), 1);
      return Math.round(share * (clock.nFrames - 1));
    };
    const start = frameAt(event);
    const move = (moved) => clock.setLoop(start, frameAt(moved));
    slider.setPointerCapture(event.pointerId);
    slider.addEventListener("pointermove", move);
    slider.addEventListener("pointerup", () => slider.removeEventListener("pointermove", move), { once: true });
  }

  /* Go to the next (1) or previous (-1) flagged event. */
  goToEvent(direction) {
    const found = this.moments.go(direction);
    if (found) this.#tell(this.moments.describe(found));
    else if (!this.moments.list.length) this.#tell(t("No event is flagged in this recording."));
    else this.#tell(direction > 0 ? t("No event after this.") : t("No event before this."));
  }

  loopEvent() {
    const found = this.moments.loop();
    this.#tell(found ? this.moments.describe(found) : t("No event is flagged in this recording."));
  }

  #tell(text) {
    this.said.textContent = text;
    window.redys?.say(text);
    clearTimeout(this.silence);
    this.silence = setTimeout(() => { this.said.textContent = ""; }, SAID_MS);
  }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.().catch((error) => this.#tell(error.message));
  }

  /* Lay a ghost beside the 3D hand, and say what it is; where there is none, say why. */
  async #setGhost(kind) {
    this.ghostKind = kind;
    this.hand3d?.setGhost(null);
    this.ghostNote.textContent = "";
    this.#sayGhost();
    const missing = kind === "reference" ? ReferenceGhost.missing(this.index) : null;
    if (!this.hand3d || kind === "none" || missing) return this.#draw(this.clock.frame);
    const ghost = kind === "reference"
      ? new ReferenceGhost(this.index, this.abort.signal)
      : new VisitGhost(this.partner.index, this.partner.frameOf, this.abort.signal, this.arrived);
    try {
      await ghost.start();
    } catch (error) {
      if (error.name !== "AbortError") this.ghostNote.textContent = t("The ghost could not be loaded: {reason}.", { reason: error.message });
      return;
    }
    if (this.ghostKind !== kind) return;
    this.hand3d?.setGhost(ghost);
    this.#draw(this.clock.frame);
  }

  #sayGhost() {
    const text = this.#wordGhost();
    if (this.ghostNote.textContent !== text) this.ghostNote.textContent = text;
    this.ghostNote.dataset.kind = this.ghostKind;
  }

  #wordGhost() {
    if (this.ghostKind === "none") return "";
    if (this.ghostKind === "visit") {
      const { title, frameOf } = this.partner;
      if (this.clock.frame >= 0 && frameOf(this.clock.frame) === null) return t("{title} has no frame at this moment.", { title });
      return t("Violet: {title} at the same moment, laid on this palm.", { title });
    }
    const missing = ReferenceGhost.missing(this.index);
    if (missing === "run") return t("Not in this run: run the pipeline again.");
    if (missing === "reference") return t("There is none: this recording was not held against a reference.");
    if (missing === "angles") return t("There is none: the reference does not know every angle.");
    if (missing) return t("There is none: this hand's model cannot take that posture.");
    const { simulated } = Object.values(this.index.reference_posture).find((one) => !one.missing);
    return simulated
      ? t("Violet: the reference's mean posture on this hand's size, laid on its palm. The reference is simulated.")
      : t("Violet: the reference's mean posture on this hand's size, laid on its palm.");
  }

  #look(name) {
    if (name === "follow" || name === "fixed") this.hand3d?.reset(name === "follow");
    else this.hand3d?.lookThrough(name);
  }

  #setOverlay(kind, on) {
    this.overlays.show(kind, on);
    this.#draw(this.clock.frame);
  }

  #setColouring(name) {
    this.colouring = name;
    this.hand3d?.setColouring(name);
    this.#showLegend(name);
    this.#draw(this.clock.frame);
  }

  #showLegend(name) {
    const range = this.index.ranges[this.index.sides[0]][name];
    this.legend.replaceChildren();
    if (!range) return;
    if (name === "z") {
      for (const [kind, text] of [["within", t("within 1 SD")], ["between", t("1 to 3 SD")], ["beyond", t("3 SD or more")]]) {
        this.legend.append(make("span", { class: `legend-item legend-${kind}` }, make("i", { "aria-hidden": "true" }), text));
      }
    } else {
      const [low, high] = name === "jerk" ? [t("smooth"), t("jerky")] : [say(range.low), `${say(range.high)} ${range.unit}`];
      this.legend.append(make("span", { text: low }), make("i", { class: "legend-ramp", "aria-hidden": "true" }), make("span", { text: high }));
      if (name === "jerk") this.legend.append(make("span", { class: "legend-note", text: t("relative to this recording") }));
    }
    this.legend.append(make("span", { class: "legend-item legend-unknown" }, make("i", { "aria-hidden": "true" }), t("cannot tell")));
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
    const layout = narrow && index.cameras.length ? "stacked" : camera ? "solo" : this.freeCell ? "cell" : "beside";
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
    const drawn = this.overlays.draw(frame, this.clock.joint);
    const posed = this.hand3d ? this.hand3d.draw(frame, this.clock.joint) : true;
    const isWhole = drawn && posed;
    if (this.wasPosed !== posed) this.hand.classList.toggle("is-late", !posed);
    this.wasPosed = posed;
    this.element.toggleAttribute("data-late", !isWhole);
    if (isWhole) this.settle?.whole();
    if (this.ghostKind === "visit") this.#sayGhost();
    this.element.dataset.frame = String(frame);
    if (!this.clock.playing || performance.now() - this.readAt >= READ_MS) this.#sayFrame(frame);
    this.#tellDash();
  }

  /* The frame in figures and on the seek bar: laying it out costs more than drawing the hand. */
  #sayFrame(frame) {
    this.readAt = performance.now();
    const time = say(this.times[frame], 3);
    this.slider.value = String(frame);
    this.slider.setAttribute("aria-valuetext", t("frame {n}, {time} s", { n: frame, time }));
    this.readout.firstChild.data = t("{time} s · frame {n} of {last}", { time, n: frame, last: this.index.n_frames - 1 });
  }

  /* Data that a frame was drawn without have come: many may come at once, and one drawing does for all. What
   * could not be fetched is asked for again a little later, as long as the frame shown needs it. */
  #drawLate(error) {
    if (error) {
      console.warn(error.message);
      if (this.settle) return this.settle.broken(error);
    }
    if (this.redrawing) return;
    this.redrawing = setTimeout(() => {
      this.redrawing = null;
      if (this.element.hasAttribute("data-late")) this.#draw(this.clock.frame);
    }, error ? AGAIN_MS : 0);
  }

  #showState() {
    const { clock } = this;
    if (this.wasPlaying !== clock.playing) {
      this.wasPlaying = clock.playing;
      this.hand3d?.setMoving(clock.playing);
      clearTimeout(this.telling); // it hears of a pause at once
      this.telling = null;
      if (clock.frame >= 0) {
        this.#sayFrame(clock.frame);
        this.#tellDash();
      }
      const label = clock.playing ? t("Pause") : t("Play");
      this.playButton.replaceChildren(icon(clock.playing ? "pause" : "play"));
      this.playButton.title = label;
      this.playButton.setAttribute("aria-label", label);
    }
    this.speed.querySelector("select").value = String(clock.rate);
    const [start, end] = clock.loop;
    this.loopMark.hidden = this.noLoop.disabled = start === null;
    if (start !== null) {
      const last = Math.max(this.index.n_frames - 1, 1);
      this.loopMark.style.left = `${(start / last) * 100}%`;
      this.loopMark.style.right = `${100 - (end / last) * 100}%`;
    }
    this.element.dataset.playing = String(clock.playing);
  }

  /* Dash hears where the playhead rests, and never drives anything from it. Telling it walks the whole page, which
   * costs more than all the drawing of many frames: not while it plays. */
  #tellDash() {
    const store = this.element.dataset.playhead;
    if (!store || this.telling || this.clock.playing) return;
    this.telling = setTimeout(() => {
      this.telling = null;
      if (this.clock.playing) return;
      window.dash_clientside?.set_props(store, { data: { frame: this.clock.frame, joint: this.clock.joint } });
    }, TELL_DASH_MS);
  }

  async #copy() {
    const { url, copied } = await copyMoment(this.clock);
    const text = copied ? t("Link copied") : t("Copy it from the address bar");
    if (!copied) history.replaceState(history.state, "", url);
    this.copyButton.textContent = text;
    window.redys?.say(text);
    setTimeout(() => { this.copyButton.textContent = t("Copy link"); }, 2000);
  }

  showHelp() {
    if (!this.help) {
      const list = make("dl", { class: "player-keys" });
      for (const [key, text] of HELP) list.append(make("dt", { text: key }), make("dd", { text }));
      const close = button(t("Close"), () => this.help.close());
      this.singleKeys = toggle(t("Keys of a single character act"), true, setSingleKeys);
      this.help = make("dialog", { class: "player-help", "aria-label": t("Keys of the player") }, make("h3", { text: t("Keys") }),
        make("p", { text: t("They act while the player has the focus. Shift and drag on the seek bar marks a loop.") }),
        list, this.singleKeys, close);
      this.help.addEventListener("close", () => this.root.focus({ preventScroll: true }));
      this.root.append(this.help);
    }
    this.singleKeys.querySelector("input").checked = areSingleKeysOn();
    this.help.showModal();
  }

  dispose() {
    this.abort.abort();
    for (const timer of [this.telling, this.silence, this.redrawing, this.filling]) clearTimeout(timer);
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
