/* How two visits are laid over each other: from their starts, at an event of each, or by hand.
 *
 * <div data-module="alignment" data-leader="player" data-follower="player-b" data-stores="store-id …">
 *   <select data-visit="a">, <select data-visit="b">: events, options with data-time in s (they may come later)
 *
 * The choice is kept in the address, after the #: al=heard-3~heard-2 (events), al=1.2340~2.3450 (by hand).
 */

import { whenPlayer } from "./clock.mjs";
import { nearestIndex } from "./cursors.mjs";
import { setFollowOffset } from "./player.mjs";
import { say, t } from "./words.mjs";

const KEY = "al";
const TELL_MS = 250;
const mounted = new Map();

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/* What the address asks for: {how, a, b}; ids of events or seconds. */
export function parseAlignment(hash) {
  const [a, b, more] = (new URLSearchParams(hash.replace(/^#/, "")).get(KEY) ?? "").split("~");
  if (!a || !b || more !== undefined) return { how: "start", a: null, b: null };
  const number = /^-?\d{1,6}(\.\d{1,6})?$/;
  if (number.test(a) && number.test(b)) return { how: "hand", a: Number(a), b: Number(b) };
  const event = /^[a-z]{2,12}-\d{1,6}$/;
  if (event.test(a) && event.test(b)) return { how: "event", a, b };
  return { how: "start", a: null, b: null };
}

/* The address with the choice in it, other keys left as they are. */
export function formatAlignment(hash, { how, a, b }) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  if (how === "start") values.delete(KEY);
  else values.set(KEY, how === "hand" ? `${a.toFixed(4)}~${b.toFixed(4)}` : `${a}~${b}`);
  return values.size ? `#${values}` : "";
}

class Alignment {
  constructor(element) {
    this.element = element;
    this.abort = new AbortController();
    this.how = "start";
    this.aS = 0;
    this.bS = 0;
    this.frame = null;
  }

  async start() {
    const { leader, follower } = this.element.dataset;
    const players = await Promise.all([whenPlayer(leader), whenPlayer(follower)]);
    if (this.abort.signal.aborted) return;
    [this.leader, this.follower] = players;
    this.#build();
    const options = { signal: this.abort.signal };
    this.element.addEventListener("change", (event) => event.target.dataset.visit && this.#chooseEvent(true), options);
    addEventListener("hashchange", () => this.#read(), options);
    this.observer = new MutationObserver(() => this.#eventsCame());
    this.observer.observe(this.element.querySelector("[data-events]"), { childList: true, subtree: true });
    this.#eventsCame();
    this.#read();
    this.element.dataset.ready = "true";
  }

  #build() {
    const name = `${this.element.id}-how`;
    this.radios = {};
    const choice = make("div", { class: "alignment-how", role: "radiogroup", "aria-label": t("What is laid over each other") });
    for (const [how, label] of [["start", t("From their starts")], ["event", t("At an event of each")], ["hand", t("By hand")]]) {
      const radio = make("input", { type: "radio", name, value: how, onchange: () => this.#choose(how) });
      this.radios[how] = radio;
      choice.append(make("label", {}, radio, make("span", {}, label)));
    }
    const nudge = (label, seconds) => make("button", { type: "button", class: "btn btn-outline-secondary btn-sm", onclick: () => this.#nudge(seconds) }, label);
    const frameS = 1 / this.follower.index.rate;
    this.slider = make("input", {
      type: "range", min: 0, max: this.follower.times.at(-1), step: frameS, "aria-label": t("Moment of the later visit"),
      oninput: (event) => this.alignAt(this.#nowS(), Number(event.target.value)),
    });
    this.hand = make("div", { class: "alignment-hand", hidden: true },
      make("p", { class: "plot-note" }, t("Go to a moment of the earlier visit with its player, then move the later visit until both show the same.")),
      make("div", { class: "alignment-row" },
        nudge(t("0.5 s back"), -0.5), nudge(t("1 frame back"), -frameS), this.slider, nudge(t("1 frame on"), frameS), nudge(t("0.5 s on"), 0.5)));
    this.status = make("p", { class: "alignment-status", role: "status" });
    this.element.prepend(choice);
    this.element.append(this.hand, this.status);
  }

  #select(visit) {
    return this.element.querySelector(`select[data-visit="${visit}"]`);
  }

  #nowS() {
    return this.leader.times[Math.max(this.leader.clock.frame, 0)];
  }

  get offsetS() {
    return this.how === "start" ? 0 : this.bS - this.aS;
  }

  /* Options of the two lists have come: an event that the address names can be found now. */
  #eventsCame() {
    const known = this.#select("a")?.options.length > 0 && this.#select("b")?.options.length > 0;
    if (known && !this.known) {
      this.known = true;
      if (this.wanted) this.#read();
    }
    this.#show();
  }

  #read() {
    const { how, a, b } = parseAlignment(location.hash);
    this.wanted = null;
    if (how === "hand") {
      this.how = "hand";
      [this.aS, this.bS] = [a, b];
    } else if (how === "event") {
      this.how = "event";
      if (!this.known) {
        this.wanted = { a, b };
        this.#show();
        return;
      }
      this.#select("a").value = a;
      this.#select("b").value = b;
      if (!this.#select("a").value || !this.#select("b").value) {
        this.lost = true;
        this.how = "start";
      } else {
        this.#takeEvents();
      }
    } else this.how = "start";
    const namesFrame = new URLSearchParams(location.hash.slice(1)).has("f");
    this.#apply(false, this.how !== "start" && !namesFrame);
  }

  #choose(how) {
    this.lost = false;
    if (how === "event") {
      this.how = "event";
      this.#chooseEvent(true);
    } else if (how === "hand") {
      const offsetS = this.offsetS;
      this.how = "hand";
      this.alignAt(this.#nowS(), this.#nowS() + offsetS);
    } else {
      this.how = "start";
      this.#apply(true);
    }
  }

  #takeEvents() {
    const [a, b] = ["a", "b"].map((visit) => this.#select(visit)?.selectedOptions[0]);
    if (!a || !b) return false;
    [this.aS, this.bS] = [Number(a.dataset.time), Number(b.dataset.time)];
    return true;
  }

  #chooseEvent(seek) {
    this.how = "event";
    if (this.#takeEvents()) this.#apply(true, seek);
    else this.#show();
  }

  #nudge(seconds) {
    const nowS = this.#nowS();
    this.alignAt(nowS, nowS + this.offsetS + seconds);
  }

  /* Lay the two moments over each other, as a person does by hand. */
  alignAt(aS, bS) {
    this.how = "hand";
    this.lost = false;
    const outS = bS - Math.min(Math.max(bS, 0), this.follower.times.at(-1));
    [this.aS, this.bS] = [aS - outS, bS - outS]; // the same shift, named by a moment that the later visit has
    this.#apply(true);
  }

  #apply(write, seek = false) {
    setFollowOffset(this.element.dataset.follower, this.offsetS);
    if (seek) {
      this.leader.clock.pause();
      this.leader.clock.seek(nearestIndex(this.leader.times, this.aS));
    }
    if (write) this.#write();
    this.#show();
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      const data = { how: this.how, offset_s: this.offsetS, a_s: this.aS, b_s: this.bS };
      for (const store of this.element.dataset.stores.split(" ")) window.dash_clientside?.set_props(store, { data });
    }, TELL_MS);
  }

  #write() {
    const named = this.how === "event" ? [this.#select("a").value, this.#select("b").value] : [this.aS, this.bS];
    const hash = formatAlignment(location.hash, { how: this.how, a: named[0], b: named[1] });
    if (hash !== location.hash) history.replaceState(history.state, "", hash || location.pathname + location.search);
  }

  #show() {
    if (!this.radios) return;
    this.radios[this.how].checked = true;
    this.element.querySelector("[data-events]").hidden = this.how !== "event";
    this.hand.hidden = this.how !== "hand";
    this.slider.value = String(this.bS);
    this.slider.setAttribute("aria-valuetext", t("{seconds} s", { seconds: say(this.bS, 2) }));
    this.element.dataset.offset = this.offsetS.toFixed(4);
    this.status.textContent = this.#say();
  }

  #say() {
    if (this.lost) return t("The event that this link names is not in these recordings any more; they run from their starts.");
    if (this.how === "event" && this.wanted) return t("Looking for the events of both visits …");
    if (this.how === "event" && !this.known) return t("There is no event to choose yet.");
    if (this.how === "start") return t("Both visits run from their starts: what is seen side by side need not be the same moment of the music.");
    const values = { a: say(this.aS, 2), b: say(this.bS, 2) };
    return t("{a} s of the earlier visit is shown beside {b} s of the later one.", values);
  }

  dispose() {
    this.abort.abort();
    this.observer?.disconnect();
    clearTimeout(this.telling);
  }
}

export function mount(element) {
  const alignment = new Alignment(element);
  mounted.set(element, alignment);
  alignment.start(); // waits for both players, which may never come
}

export function unmount(element) {
  mounted.get(element)?.dispose();
  mounted.delete(element);
}

/* Lay two moments over each other on this page, if it has such a choice, and go there. */
export function alignAt(aS, bS, joint = null) {
  const [alignment] = mounted.values();
  if (!alignment?.leader) return;
  const { clock, times } = alignment.leader;
  clock.pause();
  if (joint) clock.focus(joint);
  alignment.alignAt(aS, bS);
  clock.seek(nearestIndex(times, aS));
}
