/* A camera's clock set by eye and ear: its sound over the reference's, how well every offset fits, both heard
 * together. t_reference = t_camera + offset.
 *
 * <div data-module="clocks" data-settings="{...}">    components/clocks.py writes the settings
 *
 * A clock set by hand has no drift, so all offsets here hold for the middle of the camera's recording: what was
 * measured is shown with its drift to that moment.
 */

import { Listening } from "./listening.mjs";
import { say, t } from "./words.mjs";
import {
  CAMERA, CHECK, INK, MOST_PEAKS, Match, REFERENCE, RELIABLE, Track, drawTimes, drawTrack, prepare, rate, refineOffset, sayNumber,
} from "./waveforms.mjs";

const START_SPAN_S = 4;
const LEAST_SPAN_S = 0.004;
const LOOP_S = 3;
const CLICK_PX = 4;
const SNAP_PX = 12;
const SAME_S = 5e-7;
const OWN_PEAK_S = 0.02;
const NUDGES_MS = [-10, -1, -0.1, 0.1, 1, 10];
const MOST_S = 86400;
const PATIENCE_MS = 15000;
/* What one arrow key moves, in the close-up and in the field. */
const stepOf = (event) => (event.ctrlKey ? 1e-4 : event.shiftKey ? 1e-2 : 1e-3);

const benches = new Map();

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function button(text, onclick, attributes = {}) {
  return make("button", { type: "button", class: "btn btn-outline-secondary", onclick, text, ...attributes });
}

const SHAPES = {
  within: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2z",
  between: "M8 2l7 12H1z",
  beyond: "M5.5 2h5L14 5.500v5L10.500 14h-5L2 10.500v-5z",
  unknown: "M3 3h10v10H3z",
};

/* A level in shape, colour and word. */
function badge(level, text) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `clock-mark clock-mark-${level}`);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[level]);
  svg.append(path);
  return make("span", { class: "level-badge" }, svg, text);
}

function sayOffset(offset) {
  return `${sayNumber(offset, 4, true)} s`;
}

/* A number as people type it: with a comma, or with the minus sign that the pages print. */
export function readNumber(text) {
  const plain = text.trim().replace("−", "-").replace(",", ".");
  return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(plain) ? Number(plain) : NaN;
}

function sayDifference(seconds) {
  if (Math.abs(seconds) < SAME_S) return t("none");
  return Math.abs(seconds) < 1 ? `${sayNumber(1000 * seconds, 2, true)} ms` : sayOffset(seconds);
}

function sayConfidence(confidence) {
  const { word } = rate(confidence);
  return confidence === null ? word : `${say(confidence, 2)}, ${word}`;
}

/* The word on a camera's tab, and how urgent it is: those that need a person come first. */
function standing(camera) {
  if (camera.manual_s !== null) return { level: "within", word: t("set by hand"), order: 2 };
  const clock = camera.used ?? camera.measured;
  if (!clock || clock.offset_s === null) return { level: "beyond", word: t("not known"), order: 0 };
  return { level: VERDICTS[clock.verdict], word: VERDICT_WORDS[clock.verdict], order: { failed: 0, check: 1, reliable: 3 }[clock.verdict] };
}

const VERDICTS = { reliable: "within", check: "between", failed: "beyond" };
const VERDICT_WORDS = { reliable: t("reliable"), check: t("check"), failed: t("failed") };
const SOURCES = {
  audio: t("by sound"), hand: t("from the hand's motion"), manual: t("set by hand"), none: t("taken for granted"),
};

class Bench {
  constructor(element) {
    this.element = element;
    this.settings = JSON.parse(element.dataset.settings);
    this.abort = new AbortController();
    this.reference = this.settings.cameras.find((camera) => camera.name === this.settings.reference);
    this.cameras = this.settings.cameras
      .filter((camera) => camera !== this.reference)
      .sort((a, b) => standing(a).order - standing(b).order || a.n - b.n);
    this.tracks = new Map();
    this.matches = new Map();
    this.chosen = new Map(); // camera -> offset in s, also of those that are not shown
    this.over = false;
    this.loop = false;
    this.silence = "";
    this.listening = new Listening(this.settings.rate_hz, () => this.#showListening());
    this.#build();
  }

  start() {
    const wanted = new URLSearchParams(location.hash.slice(1)).get("c");
    const first = this.cameras.find((camera) => camera.name === wanted) ?? this.cameras[0];
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.element);
    return this.choose(first.name);
  }

  dispose() {
    this.abort.abort();
    this.observer?.disconnect();
    this.listening.dispose();
    cancelAnimationFrame(this.frame);
    this.element.replaceChildren();
  }

  /* --- what is known ------------------------------------------------------------------------- */

  get offset() {
    return this.chosen.get(this.camera.name);
  }

  /* Half the drift of a measured clock: what its offset is more in the middle of the recording. */
  #driftToMiddle(camera, clock) {
    return ((clock?.drift_ppm ?? 0) * 1e-6 * (camera.sound_s || camera.duration_s || 0)) / 2;
  }

  /* What the sound told, in the middle of the recording; null where it told nothing. */
  measured(camera = this.camera) {
    const clock = camera.measured;
    return clock ? clock.offset_s + this.#driftToMiddle(camera, clock) : null;
  }

  /* What the last run worked with, in the middle of the recording; null where it had nothing. */
  #used(camera) {
    const clock = camera.used;
    return clock && clock.offset_s !== null ? clock.offset_s + this.#driftToMiddle(camera, clock) : null;
  }

  #startOffset(camera) {
    return camera.manual_s ?? this.#used(camera) ?? this.measured(camera);
  }

  get canHear() {
    return Boolean(this.settings.base && this.reference.sound && this.camera.sound);
  }

  /* How long both recorded at an offset, in s; null where a length is not known. */
  overlap(offset) {
    const [a, b] = [this.reference, this.camera].map((camera) => camera.duration_s || camera.sound_s);
    return a && b ? Math.min(a, offset + b) - Math.max(0, offset) : null;
  }

  /* The whole time that either recorded. */
  get extent() {
    const [a, b] = [this.reference.sound_s, this.camera.sound_s];
    const start = Math.min(0, this.offset);
    return { start, span: Math.max(a, this.offset + b) - start };
  }

  /* --- choosing ------------------------------------------------------------------------------ */

  async choose(name) {
    this.listening.stop();
    this.camera = this.cameras.find((camera) => camera.name === name);
    if (!this.chosen.has(name)) this.chosen.set(name, this.#startOffset(this.camera));
    const hash = new URLSearchParams(location.hash.slice(1));
    if (hash.get("c") !== name) {
      hash.set("c", name);
      history.replaceState(history.state, "", `#${hash}`);
    }
    for (const radio of this.radios) radio.checked = radio.value === name;
    this.view = null;
    delete this.element.dataset.ready;
    this.#showCamera();
    if (this.canHear) await this.#load();
    if (this.camera.name !== name) return;
    this.#showAll();
    this.element.dataset.ready = name;
  }

  async #load() {
    const camera = this.camera;
    const slow = setTimeout(() => this.#say(t("Loading the sound of both cameras …"), "loading"), 300);
    this.stage.hidden = true;
    this.fits.hidden = true;
    try {
      const both = await Promise.all([this.reference, camera].map((one) => this.#loadTrack(one)));
      if (camera.match && !this.matches.has(camera.name)) {
        const shift = this.#driftToMiddle(camera, camera.measured);
        const span = [-camera.sound_s, this.reference.sound_s];
        const urls = [camera.match, camera.fit].map((name) => `${this.settings.base}/${name}`);
        this.matches.set(camera.name, await Match.load(urls, this.settings, shift, span, this.abort.signal));
      }
      if (camera !== this.camera) return;
      if (this.offset === null) { // nobody knows: the highest peak is a place to start from
        const highest = [...this.peaks].sort((a, b) => b.confidence - a.confidence)[0];
        this.setOffset(highest?.offset ?? 0);
      }
      this.stage.hidden = false;
      this.fits.hidden = !camera.match;
      this.#say("", "");
      this.#lookAtLoudest(both[0]);
      this.#loadSamples(both);
    } catch (error) {
      if (error.name === "AbortError" || camera !== this.camera) return;
      this.#say(t("The sound could not be loaded: {reason}. The offset can be typed all the same.", { reason: error.message }), "failed");
      this.message.append(button(t("Try again"), () => this.choose(camera.name)));
    } finally {
      clearTimeout(slow);
    }
  }

  async #loadTrack(camera) {
    let track = this.tracks.get(camera.name);
    if (!track) {
      track = new Track(camera, this.settings.base, this.settings);
      await track.load(this.abort.signal);
      this.tracks.set(camera.name, track);
    }
    return track;
  }

  async #loadSamples(both) {
    const camera = this.camera;
    this.soundFault = "";
    try {
      await Promise.all(both.map((track) => track.loadSamples(this.abort.signal)));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.soundFault = t("This browser cannot play the sound ({reason}).", { reason: error.message });
    }
    if (camera === this.camera) this.#showListening();
    this.#draw();
  }

  /* Open where there is something to see: at the loudest moment that both recorded. */
  #lookAtLoudest(track) {
    const [start, end] = [Math.max(0, this.offset), Math.min(this.reference.sound_s, this.offset + this.camera.sound_s)];
    let best = Math.max(0, Math.floor(start * track.peaksPerS));
    const size = (k) => Math.max(-track.pairs[2 * k], track.pairs[2 * k + 1]);
    for (let k = best; k < Math.min(track.pairs.length / 2, end * track.peaksPerS); k += 1) if (size(k) > size(best)) best = k;
    this.cursor = Math.min(best / track.peaksPerS, this.reference.sound_s);
    this.view = { start: this.cursor - START_SPAN_S / 2, span: START_SPAN_S };
  }

  setOffset(offset, { typed = false } = {}) {
    this.chosen.set(this.camera.name, Math.round(Math.max(-MOST_S, Math.min(MOST_S, offset)) * 1e6) / 1e6);
    this.fault = "";
    if (!typed) this.input.value = this.offset.toFixed(5);
    this.#showOffset();
    this.#draw();
    if (this.listening.playing) {
      clearTimeout(this.again); // heard anew once the hand rests
      this.again = setTimeout(() => this.listening.playing && this.play(), 200);
    }
  }

  #type() {
    const value = readNumber(this.input.value);
    if (Number.isFinite(value) && Math.abs(value) <= MOST_S) {
      this.setOffset(value, { typed: true });
      return;
    }
    this.fault = t("Give the offset in seconds, such as 0.184 or -1.25.");
    this.#showOffset();
  }

  #stepInField(event) {
    const sign = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!sign || this.offset === null || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.setOffset(this.offset + sign * stepOf(event));
  }

  /* The rivals and the measured one, by offset; a peak that is the measured one has its exact place. */
  get peaks() {
    const match = this.matches.get(this.camera.name);
    if (!match) return [];
    const measured = this.measured();
    const misses = match.peaks.map((peak) => (measured === null ? Infinity : Math.abs(peak.offset - measured)));
    const nearest = misses.indexOf(Math.min(...misses));
    return match.peaks.map((peak, number) => {
      const isMeasured = number === nearest && misses[number] <= peak.reach + OWN_PEAK_S;
      return { ...peak, place: isMeasured ? measured : peak.offset, isMeasured };
    });
  }

  choosePeak(number) {
    const peak = this.peaks[number];
    if (!peak) return;
    const [a, b] = [this.reference, this.camera].map((camera) => this.tracks.get(camera.name)?.samples);
    const drifts = this.#driftToMiddle(this.camera, this.camera.measured) !== 0;
    const { reach } = peak;
    const near = () => refineOffset(a, b, this.settings.rate_hz, peak.offset, { reach, drifts });
    this.setOffset(peak.isMeasured || !a || !b ? peak.place : near());
    this.#announce(t("Peak {n} of {total}: {chosen}", { n: number + 1, total: this.peaks.length, chosen: this.#sayChosen() }));
  }

  /* The number of the peak that is chosen now; -1 between peaks. */
  get peak() {
    return this.peaks.findIndex((peak) => Math.abs(peak.offset - this.offset) <= peak.reach + OWN_PEAK_S);
  }

  /* From left to right, and round again. */
  nextPeak() {
    const { peaks } = this;
    const now = this.peak;
    const next = now >= 0 ? now + 1 : peaks.findIndex((peak) => peak.offset > this.offset);
    this.choosePeak(next < 0 ? 0 : next % peaks.length);
  }

  #sayChosen() {
    return t("{offset}, confidence {confidence}", { offset: sayOffset(this.offset), confidence: sayConfidence(this.confidence) });
  }

  get confidence() {
    return this.offset === null ? null : (this.matches.get(this.camera.name)?.at(this.offset) ?? null);
  }

  /* --- hearing ------------------------------------------------------------------------------- */

  async play() {
    const both = [this.reference, this.camera].map((camera) => this.tracks.get(camera.name));
    if (!both.every((track) => track?.buffer)) return;
    const { start, span } = this.extent;
    const from = this.loop ? Math.max(start, this.cursor - LOOP_S / 2) : this.cursor;
    const length = this.loop ? LOOP_S : start + span - from;
    const plan = { from, length, offset: this.offset, loop: this.loop };
    await this.listening.play(both.map((track) => track.buffer), both.map((track) => track.camera.peak), plan);
    this.#follow();
  }

  toggle() {
    if (this.listening.playing) this.listening.stop();
    else this.play();
  }

  #follow() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => {
      const time = this.listening.time;
      if (time !== null && (time < this.view.start || time > this.view.start + this.view.span)) this.view.start = time - 0.1 * this.view.span;
      this.#draw();
      if (this.listening.playing) this.#follow();
    });
  }

  /* --- looking ------------------------------------------------------------------------------- */

  zoom(factor, at = this.cursor) {
    if (!this.view) return;
    const span = Math.max(LEAST_SPAN_S, Math.min(this.extent.span, this.view.span * factor));
    const share = (at - this.view.start) / this.view.span;
    const isSeen = share >= 0 && share <= 1; // else what is in the middle stays there
    const fixed = isSeen ? at : this.view.start + this.view.span / 2;
    this.view = { start: fixed - (isSeen ? share : 0.5) * span, span };
    this.#draw();
  }

  showWhole() {
    this.view = { ...this.extent };
    this.#draw();
  }

  moveCursor(time) {
    const { start, span } = this.extent;
    this.cursor = Math.max(start, Math.min(start + span, time));
    const margin = 0.05 * this.view.span;
    if (this.cursor < this.view.start + margin || this.cursor > this.view.start + this.view.span - margin) {
      this.view.start = this.cursor - this.view.span / 2;
    }
    this.#draw();
    if (this.listening.playing) this.play();
  }

  /* --- the page ------------------------------------------------------------------------------ */

  #build() {
    this.message = make("div", { class: "clock-message" });
    this.heading = make("h2");
    this.why = make("div", { class: "clock-why" });
    this.stage = this.#makeStage();
    this.fits = this.#makeFits();
    this.element.append(
      this.#makeTabs(),
      make("section", { class: "panel clock-sound" }, this.heading, this.why, this.message, this.stage),
      make("div", { class: "clock-below" },
        make("section", { class: "panel clock-offset" }, make("h2", { text: t("Offset") }), this.#makeOffset()),
        this.fits,
        make("section", { class: "panel clock-use" }, make("h2", { text: t("Use it") }), this.#makeUse())),
    );
  }

  #makeTabs() {
    this.radios = [];
    const tabs = this.cameras.map((camera) => {
      const { level, word } = standing(camera);
      const radio = make("input", { type: "radio", name: "clock-camera", value: camera.name, onchange: () => this.choose(camera.name) });
      this.radios.push(radio);
      return make("label", { class: "clock-tab" }, radio, make("strong", { text: camera.name }), badge(level, word));
    });
    return make("fieldset", { class: "clock-tabs" }, make("legend", { text: t("Camera") }), ...tabs);
  }

  #makeStage() {
    const swatch = (kind) => make("span", { class: `clock-swatch clock-swatch-${kind}`, "aria-hidden": "true" });
    this.cameraName = make("span");
    this.overview = make("canvas", { class: "clock-overview", role: "slider", tabindex: "0", "aria-valuemin": "0" });
    this.closeup = make("canvas", { class: "clock-closeup", role: "slider", tabindex: "0" });
    this.#listenToOverview();
    this.#listenToCloseup();
    this.playButton = button(t("Play"), () => this.toggle(), { class: "btn btn-primary clock-play" });
    this.soundNote = make("span", { class: "hint", role: "status" });
    const loop = make("input", { type: "checkbox", onchange: (event) => { this.loop = event.target.checked; if (this.listening.playing) this.play(); } });
    const over = make("input", { type: "checkbox", onchange: (event) => { this.over = event.target.checked; this.#draw(); } });
    const ears = make("select", { class: "form-select", onchange: (event) => { this.listening.split = event.target.value === "split"; if (this.listening.playing) this.play(); } },
      make("option", { value: "split", text: t("Reference left, camera right") }), make("option", { value: "middle", text: t("Both in the middle") }));
    return make("div", { class: "clock-stage" },
      make("div", { class: "clock-key" },
        make("span", {}, swatch("reference"), t("{name} (reference)", { name: this.reference.name })),
        make("span", {}, swatch("camera"), this.cameraName),
        make("label", {}, over, t("Lay over each other"))),
      make("div", { class: "clock-name", text: t("Whole recording: click to look there") }),
      this.overview,
      make("div", { class: "clock-name", text: t("Close-up: drag the camera's sound, click to set the cursor") }),
      this.closeup,
      make("div", { class: "clock-tools" },
        make("div", { class: "clock-group", role: "group", "aria-label": t("Zoom") },
          button("−", () => this.zoom(2), { "aria-label": t("Show more"), title: t("Show more (key −)") }),
          button("+", () => this.zoom(0.5), { "aria-label": t("Show less, larger"), title: t("Show less, larger (key +)") }),
          button(t("Whole"), () => this.showWhole(), { title: t("Show the whole recording") })),
        this.playButton,
        make("label", { class: "clock-check" }, loop, t("Loop {seconds} s around the cursor", { seconds: LOOP_S })),
        make("label", { class: "clock-ears" }, make("span", { text: t("Ears") }), ears),
        this.soundNote),
      make("details", { class: "clock-keys" }, make("summary", { text: t("Keys") }),
        make("p", { text: t("With the close-up in focus: ← → move the camera's sound by 1 ms, with Shift by 10 ms, with Ctrl by 0.1 ms. + − zoom, as does the wheel. Space plays and stops. Page Up and Page Down move the cursor, as do ← → in the whole recording. N chooses the next peak. In the field for the offset ↑ ↓ do what they do in the close-up.") })));
  }

  #makeOffset() {
    const error = make("p", { class: "clock-error", id: "clock-error", role: "alert" });
    this.errorText = error;
    this.input = make("input", {
      // Text: where the browser's language has a point, a number field would turn "0,5" into 5 without a word.
      type: "text", class: "form-control", id: "clock-seconds", autocomplete: "off",
      "aria-describedby": "clock-meaning clock-error", oninput: () => this.#type(),
      onkeydown: (event) => this.#stepInField(event),
    });
    this.nudges = NUDGES_MS.map((ms) => button(`${ms > 0 ? "+" : "−"}${say(Math.abs(ms))}`, () => {
      this.setOffset(this.offset + ms / 1000);
      this.#announce(this.#sayChosen());
    }, { "aria-label": ms > 0 ? t("Later by {ms} ms", { ms }) : t("Earlier by {ms} ms", { ms: -ms }) }));
    this.meaning = make("p", { class: "hint", id: "clock-meaning" });
    this.readout = make("dl", { class: "clock-readout" });
    this.backButton = button(t("Back to the measured one"), () => {
      this.setOffset(this.measured());
      this.#announce(this.#sayChosen());
    });
    this.nextButton = button(t("Next peak"), () => this.nextPeak());
    return make("div", {},
      make("div", { class: "field" },
        make("label", { for: "clock-seconds", text: t("Seconds added to the camera's time") }),
        make("div", { class: "clock-number" }, this.input,
          make("div", { class: "clock-group", role: "group", "aria-label": t("Move by milliseconds") }, ...this.nudges, make("span", { class: "hint", text: "ms" }))),
        error, this.meaning),
      this.readout,
      make("div", { class: "clock-tools" }, this.backButton, this.nextButton));
  }

  #makeFits() {
    this.curve = make("canvas", { class: "clock-curve", role: "img" });
    this.curve.addEventListener("click", (event) => this.#clickCurve(event));
    this.list = make("ol", { class: "clock-peaks" });
    this.fitsLead = make("p", { class: "panel-lead" });
    return make("section", { class: "panel clock-fits" }, make("h2", { text: t("How well other offsets fit") }),
      this.fitsLead,
      this.curve,
      make("div", { class: "clock-key" },
        make("span", {}, make("span", { class: "clock-sign clock-sign-chosen", "aria-hidden": "true" }), t("chosen")),
        make("span", {}, make("span", { class: "clock-sign clock-sign-measured", "aria-hidden": "true" }), t("measured")),
        make("span", {}, make("span", { class: "clock-sign clock-sign-peak", "aria-hidden": "true", text: "▼" }), t("peak: click to choose"))),
      this.list);
  }

  #makeUse() {
    const again = this.settings.run_id ? t("Use this offset and run again") : t("Use this offset and run");
    this.useButton = button(again, () => this.#send(this.offset), { class: "btn btn-primary" });
    this.removeButton = button(t("Remove the manual offset"), () => this.#send(null));
    this.useNote = make("p", { class: "hint", role: "status" });
    return make("div", {}, make("div", { class: "clock-tools" }, this.useButton, this.removeButton), this.useNote);
  }

  #send(offset) {
    if (offset !== null && (this.fault || !(this.overlap(offset) === null || this.overlap(offset) > 0))) return;
    const answer = document.getElementById(this.settings.answer);
    this.sending = true;
    this.listening.stop();
    this.#showOffset();
    this.silence = "";
    const done = new MutationObserver(() => {
      done.disconnect();
      clearTimeout(this.waiting);
      this.sending = false;
      this.silence = "";
      this.#showOffset();
      answer.scrollIntoView({ block: "nearest" });
    });
    done.observe(answer, { childList: true, subtree: true, characterData: true });
    const request = { recording_id: this.settings.recording_id, camera: this.camera.name, offset_s: offset, request: `${Date.now()}-${Math.random()}` };
    window.dash_clientside.set_props(this.settings.store, { data: request });
    this.waiting = setTimeout(() => {
      if (!this.element.isConnected) return;
      this.sending = false;
      this.silence = t("The server has not answered, so it is not known whether the offset was taken. Look at the connection, then try again.");
      this.#showOffset();
    }, PATIENCE_MS);
  }

  /* --- showing ------------------------------------------------------------------------------- */

  #say(text, kind) {
    this.message.replaceChildren(...(text ? [make("p", { text })] : []));
    this.message.className = kind === "failed" ? "clock-message notice notice-failed" : "clock-message";
    this.message.setAttribute("role", kind === "failed" ? "alert" : "status");
  }

  #announce(text) {
    window.redys.say(t("Camera {name}: {text}", { name: this.camera.name, text }));
  }

  #showCamera() {
    const { camera, reference } = this;
    this.heading.textContent = t("Camera {name} against {reference}", { name: camera.name, reference: reference.name });
    this.cameraName.textContent = camera.name;
    this.closeup.setAttribute("aria-label", t("Offset of camera {name}, in seconds", { name: camera.name }));
    this.overview.setAttribute("aria-label", t("Cursor in the whole recording, in seconds"));
    const reasons = camera.used?.reasons ?? (this.canHear ? (camera.measured?.reasons ?? camera.reasons) : []);
    const list = reasons.map((text) => make("li", { text }));
    this.why.replaceChildren(...(list.length ? [make("p", { text: t("What is doubtful about this clock:") }), make("ul", {}, ...list)] : []));
    this.stage.hidden = this.fits.hidden = !this.canHear;
    const silent = [reference, camera].filter((one) => !one.sound).map((one) => t("camera {name} ({file})", { name: one.name, file: one.file }));
    const none = this.settings.base ? t("There is no sound of {cameras}. The offset can only be typed.", { cameras: silent.join(" / ") }) : t("There is no sound to show.");
    this.#say(this.canHear ? "" : none, "");
    this.input.value = this.offset === null ? "" : this.offset.toFixed(5);
    this.fault = "";
    this.#showOffset();
  }

  #showAll() {
    this.#showOffset();
    this.#showListening();
    this.#draw();
  }

  #showOffset() {
    const { camera, offset, fault } = this;
    const unknown = offset === null;
    const shared = unknown ? null : this.overlap(offset);
    const apart = shared !== null && shared <= 0;
    for (const each of this.nudges) each.disabled = unknown;
    this.errorText.textContent = fault || (apart ? t("At this offset the two cameras did not record at the same time.") : "");
    this.input.setAttribute("aria-invalid", String(Boolean(fault || apart)));
    this.meaning.textContent = unknown
      ? t("Where is 0 s of {name} on the clock of {reference}? Nobody knows yet.", { name: camera.name, reference: this.reference.name })
      : t("The start of {name} is at {offset} of {reference}.", { name: camera.name, offset: sayOffset(offset), reference: this.reference.name });
    this.#showReadout(shared);
    this.backButton.hidden = this.measured() === null;
    this.nextButton.hidden = this.peaks.length < 2;
    this.#showPeaks();
    const { locked } = this.settings;
    this.useButton.disabled = Boolean(unknown || fault || apart || locked || this.sending);
    this.removeButton.disabled = Boolean(locked || this.sending);
    this.removeButton.hidden = camera.manual_s === null;
    const kept = t("What was found in each camera's pictures is kept; the common clock and all that follows is worked out again.");
    const note = locked || (this.sending ? t("Sending …") : this.silence || (this.settings.run_id ? kept : ""));
    if (this.useNote.textContent !== note) this.useNote.textContent = note; // else it would be read out at every step
    this.useNote.className = note && note === this.silence ? "clock-error" : "hint";
    if (unknown) return;
    const text = t("{offset} seconds, confidence {confidence}", { offset: sayNumber(offset, 4, true), confidence: sayConfidence(this.confidence) });
    for (const [name, value] of [["valuenow", offset.toFixed(5)], ["valuetext", text], ["valuemin", (-camera.sound_s).toFixed(3)], ["valuemax", this.reference.sound_s.toFixed(3)]]) {
      this.closeup.setAttribute(`aria-${name}`, value);
    }
    this.element.dataset.offset = offset.toFixed(6);
  }

  #showReadout(shared) {
    const { camera, offset, confidence } = this;
    const measured = this.measured();
    const rows = [];
    const row = (term, ...found) => rows.push(make("div", {}, make("dt", { text: term }), make("dd", {}, ...found)));
    const { level } = rate(confidence, this.#countHigh());
    if (this.matches.has(camera.name)) row(t("Confidence of this offset"), badge(level, sayConfidence(confidence)));
    if (shared !== null) row(t("Both recorded"), `${sayNumber(Math.max(0, shared), 2)} s`);
    if (measured !== null) {
      const clock = camera.measured;
      const sigma = clock.sigma_s === null ? "" : ` ± ${sayNumber(1000 * clock.sigma_s, 2)} ms`;
      row(t("Measured by sound"), `${sayOffset(measured)}${sigma} `, badge(VERDICTS[clock.verdict], VERDICT_WORDS[clock.verdict]));
      if (offset !== null) row(t("Difference from measured"), sayDifference(offset - measured));
    } else {
      row(t("Measured by sound"), camera.source === "manual" ? t("not asked, since the clock is set by hand") : t("not known"));
    }
    const used = this.#used(camera);
    if (used !== null) row(t("Used in the last run"), `${sayOffset(used)}, ${SOURCES[camera.used.source] ?? camera.used.source}`);
    const drift = 2 * this.#driftToMiddle(camera, camera.measured);
    if (Math.abs(drift) >= 5e-4) {
      row(t("Drift"), t("{drift} ms over the recording. A clock set by hand has none: these offsets hold in the middle.", { drift: sayNumber(1000 * drift, 1, true) }));
    }
    this.readout.replaceChildren(...rows);
  }

  /* Several offsets of high confidence: then it does not tell which is right, and none of them is marked so. */
  #countHigh() {
    return this.peaks.filter((one) => one.confidence >= RELIABLE).length;
  }

  #showPeaks() {
    const { peaks, peak } = this;
    const total = peaks.length;
    if (!total) this.nextButton.textContent = t("Next peak");
    else if (peak >= 0) this.nextButton.textContent = t("Next peak ({n} of {total})", { n: peak + 1, total });
    else this.nextButton.textContent = t("Next peak ({total} in all)", { total });
    const good = this.#countHigh();
    const many = good === MOST_PEAKS ? t("At least {n}", { n: good }) : good;
    const several = `${t("{many} offsets have a confidence of {reliable} or more, so that number does not tell which is right. The fit, 1.00 at the best, has no such ceiling.", { many, reliable: RELIABLE })} `;
    this.fitsLead.textContent = `${good > 1 ? several : ""}${t("A bar of music that comes again fits at several offsets. Compare the peaks by eye and ear, at the beginning and at the end.")}`;
    const shown = peaks.map((one) => `${one.place}`).join() + this.camera.name;
    if (this.shownPeaks !== shown) { // drawn anew at each step they would take the focus away
      this.shownPeaks = shown;
      this.list.replaceChildren(...peaks.map((one, number) => {
        const made = button("", () => this.choosePeak(number), { class: "btn btn-outline-secondary clock-peak" });
        made.append(make("span", { text: sayOffset(one.place) }), badge(rate(one.confidence, good).level, sayConfidence(one.confidence)), make("span", { text: t("fit {fit}", { fit: say(one.fit, 2) }) }), one.isMeasured ? t("measured") : "");
        return make("li", {}, made);
      }));
    }
    [...this.list.children].forEach((item, number) => item.firstChild.setAttribute("aria-pressed", String(number === peak)));
    const words = peaks.map((one) => `${sayOffset(one.place)} (${sayConfidence(one.confidence)}, ${t("fit {fit}", { fit: say(one.fit, 2) })})`).join("; ");
    this.curve.setAttribute("aria-label", t("Confidence of every offset. The highest peaks: {peaks}. The list below has them as buttons.", { peaks: words }));
  }

  #showListening() {
    const ready = [this.reference, this.camera].every((camera) => this.tracks.get(camera.name)?.buffer);
    this.playButton.disabled = !ready;
    this.playButton.textContent = this.listening.playing ? t("Stop") : t("Play from the cursor");
    this.soundNote.textContent = ready ? "" : this.soundFault || t("Loading the sound …");
    this.element.dataset.sound = ready ? "ready" : "";
    this.#draw();
  }

  #draw() {
    if (!this.view || this.stage.hidden || !this.tracks.has(this.camera.name)) return;
    const both = [this.reference, this.camera].map((camera) => this.tracks.get(camera.name));
    this.#drawOverview(both);
    this.#drawCloseup(both);
    if (!this.fits.hidden) this.#drawCurve();
  }

  #drawOverview([reference, camera]) {
    const { context, width, height } = prepare(this.overview);
    const view = this.extent;
    const half = (height - 20) / 2;
    drawTrack(context, reference, { offset: 0, view, width, top: 0, height: half, style: REFERENCE });
    drawTrack(context, camera, { offset: this.offset, view, width, top: half, height: half, style: CAMERA });
    drawTimes(context, { view, width, top: 2 * half });
    const x = (time) => ((time - view.start) / view.span) * width;
    const [from, to] = [x(this.view.start), x(this.view.start + this.view.span)];
    context.fillStyle = "rgb(11 92 122 / 16%)";
    context.strokeStyle = INK.line;
    context.fillRect(from, 0, to - from, 2 * half);
    context.strokeRect(Math.max(0.5, from), 0.5, Math.min(width - 1, to) - Math.max(0.5, from), 2 * half - 1);
    this.#drawLines(context, x, 2 * half);
    for (const [name, value] of [["valuenow", this.cursor.toFixed(3)], ["valuemin", view.start.toFixed(3)], ["valuemax", (view.start + view.span).toFixed(3)], ["valuetext", t("{seconds} seconds of {name}, {span} seconds shown", { seconds: sayNumber(this.cursor, 2), name: this.reference.name, span: sayNumber(this.view.span, 2) })]]) {
      this.overview.setAttribute(`aria-${name}`, value);
    }
  }

  #drawCloseup([reference, camera]) {
    const { context, width, height } = prepare(this.closeup);
    const { view } = this;
    const whole = height - 22;
    const half = whole / 2;
    context.strokeStyle = INK.grid;
    for (const y of this.over ? [half] : [half / 2, half, half * 1.5]) {
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(width, y);
      context.stroke();
    }
    const lane = this.over ? whole : half;
    drawTrack(context, reference, { offset: 0, view, width, top: 0, height: lane, style: REFERENCE });
    drawTrack(context, camera, { offset: this.offset, view, width, top: this.over ? 0 : half, height: lane, style: CAMERA, pale: this.over });
    drawTimes(context, { view, width, top: whole });
    this.#drawLines(context, (time) => ((time - view.start) / view.span) * width, whole);
  }

  #drawLines(context, x, height) {
    const heard = this.listening.time;
    for (const [time, dashes, wide] of [[this.cursor, [5, 4], 1.5], [heard, [], 2.5]]) {
      if (time === null) continue;
      context.save();
      context.beginPath();
      context.moveTo(x(time), 0);
      context.lineTo(x(time), height);
      context.strokeStyle = INK.paper; // the line is seen on dark sound too
      context.lineWidth = wide + 2.5;
      context.stroke();
      context.strokeStyle = INK.line;
      context.lineWidth = wide;
      context.setLineDash(dashes);
      context.stroke();
      context.restore();
    }
  }

  /* The offsets that the curve shows: those at which both were recording. */
  get reach() {
    const match = this.matches.get(this.camera.name);
    const last = match.first + (match.values.length - 1) * match.step;
    const start = Math.max(match.first, match.span[0]);
    return { start, span: Math.max(0.1, Math.min(last, match.span[1]) - start) };
  }

  #drawCurve() {
    const match = this.matches.get(this.camera.name);
    const { context, width, height } = prepare(this.curve);
    const view = this.reach;
    const [top, bottom] = [22, height - 22];
    const x = (offset) => ((offset - view.start) / view.span) * width;
    const y = (confidence) => bottom - confidence * (bottom - top);
    context.beginPath();
    context.moveTo(0, bottom);
    for (let k = 0; k < width; k += 1) {
      const found = match.highest(view.start + (k / width) * view.span, view.start + ((k + 1) / width) * view.span);
      context.lineTo(k + 0.5, y(found ?? 0));
    }
    context.lineTo(width, bottom);
    context.fillStyle = "#9fb8c6";
    context.strokeStyle = "#3d6478";
    context.fill();
    context.stroke();
    context.textBaseline = "bottom";
    for (const [level, word] of [[RELIABLE, "high"], [CHECK, "middling"]]) {
      context.strokeStyle = INK.quiet;
      context.setLineDash([2, 4]);
      context.beginPath();
      context.moveTo(0, y(level));
      context.lineTo(width, y(level));
      context.stroke();
      context.setLineDash([]);
      this.#label(context, `${word} from ${level}`, 3, y(level) - 2);
    }
    drawTimes(context, { view, width, top: bottom });
    context.fillStyle = CAMERA.line;
    for (const peak of this.peaks) {
      const at = x(peak.place);
      context.beginPath();
      context.moveTo(at - 6, y(peak.confidence) - 12);
      context.lineTo(at + 6, y(peak.confidence) - 12);
      context.lineTo(at, y(peak.confidence) - 3);
      context.fill();
    }
    const line = (offset, dashes, wide) => {
      context.strokeStyle = INK.line;
      context.lineWidth = wide;
      context.setLineDash(dashes);
      context.beginPath();
      context.moveTo(x(offset), top - 10);
      context.lineTo(x(offset), bottom);
      context.stroke();
      context.setLineDash([]);
    };
    if (this.measured() !== null) line(this.measured(), [3, 4], 1.5);
    line(this.offset, [], 2.5);
    context.fillStyle = INK.line;
    context.beginPath();
    context.arc(x(this.offset), top - 12, 5, 0, 2 * Math.PI);
    context.fill();
  }

  #label(context, text, x, y) {
    context.fillStyle = "rgb(255 255 255 / 80%)";
    context.fillRect(x - 2, y - 14, context.measureText(text).width + 4, 15);
    context.fillStyle = INK.quiet;
    context.fillText(text, x, y);
  }

  /* --- pointer and keys ---------------------------------------------------------------------- */

  #clickCurve(event) {
    const box = this.curve.getBoundingClientRect();
    const { start, span } = this.reach;
    const px = event.clientX - box.left;
    const distances = this.peaks.map((peak) => Math.abs(((peak.place - start) / span) * box.width - px));
    const nearest = distances.indexOf(Math.min(...distances));
    if (distances[nearest] <= SNAP_PX) this.choosePeak(nearest);
    else this.setOffset(start + (px / box.width) * span);
  }

  #listenToOverview() {
    const look = (event) => {
      const box = this.overview.getBoundingClientRect();
      const { start, span } = this.extent;
      const time = start + ((event.clientX - box.left) / box.width) * span;
      this.view.start = time - this.view.span / 2;
      this.moveCursor(time);
    };
    this.overview.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.overview.setPointerCapture(event.pointerId);
      look(event);
    });
    this.overview.addEventListener("pointermove", (event) => this.overview.hasPointerCapture(event.pointerId) && look(event));
    this.overview.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const step = (event.shiftKey ? 0.5 : 0.1) * this.view.span;
      const { start, span } = this.extent;
      this.#act(event, {
        ArrowLeft: () => this.moveCursor(this.cursor - step), ArrowRight: () => this.moveCursor(this.cursor + step),
        ArrowDown: () => this.moveCursor(this.cursor - step), ArrowUp: () => this.moveCursor(this.cursor + step),
        Home: () => this.moveCursor(start), End: () => this.moveCursor(start + span),
      });
    });
  }

  #listenToCloseup() {
    const { closeup } = this;
    let drag = null;
    const perPx = () => this.view.span / closeup.clientWidth;
    closeup.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      closeup.focus({ preventScroll: true });
      closeup.setPointerCapture(event.pointerId);
      const box = closeup.getBoundingClientRect();
      const onCamera = this.over || event.clientY - box.top > (box.height - 22) / 2;
      drag = { x: event.clientX, left: box.left, offset: this.offset, start: this.view.start, onCamera, moved: false };
    });
    closeup.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const px = event.clientX - drag.x;
      if (!drag.moved && Math.abs(px) < CLICK_PX) return;
      drag.moved = true;
      if (drag.onCamera) {
        this.setOffset(drag.offset + px * perPx());
      } else {
        this.view.start = drag.start - px * perPx();
        this.#draw();
      }
    });
    closeup.addEventListener("pointerup", (event) => {
      if (drag && !drag.moved) this.moveCursor(this.view.start + (event.clientX - drag.left) * perPx());
      else if (drag?.onCamera) this.#announce(this.#sayChosen());
      drag = null;
    });
    closeup.addEventListener("pointercancel", () => {
      if (drag?.onCamera) this.setOffset(drag.offset);
      drag = null;
    });
    closeup.addEventListener("wheel", (event) => {
      // The page's own scrolling is not taken away from who only passes by.
      if (document.activeElement !== closeup && !event.ctrlKey) return;
      event.preventDefault();
      this.zoom(2 ** (event.deltaY / 300), this.view.start + event.offsetX * perPx());
    }, { passive: false });
    closeup.addEventListener("keydown", (event) => this.#pressKey(event));
  }

  #pressKey(event) {
    if (event.altKey || event.metaKey) return;
    const move = (sign) => () => this.setOffset(this.offset + sign * stepOf(event));
    const actions = { ArrowLeft: move(-1), ArrowRight: move(1), ArrowDown: move(-1), ArrowUp: move(1) };
    if (!event.ctrlKey) {
      Object.assign(actions, {
        PageUp: () => this.moveCursor(this.cursor - 0.25 * this.view.span), PageDown: () => this.moveCursor(this.cursor + 0.25 * this.view.span),
        "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
        " ": () => this.toggle(), n: () => this.nextPeak(),
      });
    }
    this.#act(event, actions);
  }

  #act(event, actions) {
    const action = actions[event.key];
    if (!action || !this.view) return;
    event.preventDefault();
    action();
  }
}

export function getBench(id) {
  return benches.get(id) ?? null;
}

export async function mount(element) {
  const bench = new Bench(element);
  benches.set(element.id, bench);
  await bench.start();
}

export function unmount(element) {
  const bench = benches.get(element.id);
  if (bench?.element !== element) return;
  benches.delete(element.id);
  bench.dispose();
}
