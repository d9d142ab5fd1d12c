/* The timeline under the player: a line at the playhead, arrow keys along the track, and the player's moment
 * for the fields of forms.
 *
 * <div data-module="marks" data-player="player" data-duration="30.0"> ... .lane > .lane-items, .lane-cursor </div>
 * <button data-fill="mark-start"> anywhere on the page puts the player's time into that Dash input.
 * The key M in the player puts its moment into the form of a mark and goes there.
 */

import { whenPlayer } from "./clock.mjs";
import { areSingleKeysOn } from "./keys.mjs";
import { parseMoment } from "./links.mjs";
import { say, t } from "./words.mjs";

const START = "mark-start";
const mounted = new Map();

/* The time on the clock of all cameras that the player shows, in ms resolution. */
function momentOf(player) {
  const frame = Math.min(Math.max(player.clock.heading, 0), player.times.length - 1);
  return Math.round(player.times[frame] * 1000) / 1000;
}

class Timeline {
  constructor(element) {
    this.element = element;
    this.abort = new AbortController();
  }

  async start() {
    const { signal } = this.abort;
    document.addEventListener("click", (event) => this.#fill(event), { signal });
    this.element.addEventListener("keydown", (event) => this.#step(event), { signal });
    this.element.addEventListener("click", (event) => this.#seek(event), { signal });
    this.player = await whenPlayer(this.element.dataset.player);
    if (signal.aborted) return;
    this.player.element.addEventListener("keydown", (event) => this.#key(event), { signal });
    if (this.element.dataset.blind) this.#coverFindings();
    this.stop = this.player.clock.subscribe((frame) => this.#place(frame));
    // The track is drawn anew when a mark is added.
    this.observer = new MutationObserver(() => {
      this.cursor = null;
      this.#place(this.player.clock.frame);
    });
    this.observer.observe(this.element, { childList: true, subtree: true });
  }

  end() {
    this.abort.abort();
    this.stop?.();
    this.observer?.disconnect();
  }

  /* Who rates blind sees the film alone at first, without what was found drawn on it. */
  #coverFindings() {
    for (const box of this.player.root.querySelectorAll(".player-toggle input:checked")) box.click();
  }

  #place(frame) {
    this.cursor ??= this.element.querySelector(".lane-cursor");
    const { cursor } = this;
    const duration = Number(this.element.dataset.duration);
    if (!cursor || !(duration > 0) || frame < 0) return;
    cursor.style.transform = `translateX(${(100 * this.player.times[frame]) / duration}%)`;
  }

  /* A click beside all items goes to that time. An item's link does nothing by itself while the address names
   * its moment already, so its frame is sought here, too. */
  #seek(event) {
    const lane = event.target.closest(".lane");
    if (!lane || !this.player) return;
    const link = event.target.closest("a");
    if (link) {
      const { clock, index } = this.player;
      const { frame } = parseMoment(link.hash, clock.nFrames, index.joints);
      if (frame !== null) clock.seek(frame);
      return;
    }
    const box = lane.getBoundingClientRect();
    const time = ((event.clientX - box.left) / box.width) * Number(this.element.dataset.duration);
    let nearest = 0;
    this.player.times.forEach((each, frame) => {
      if (Math.abs(each - time) < Math.abs(this.player.times[nearest] - time)) nearest = frame;
    });
    this.player.clock.pause();
    this.player.clock.seek(nearest);
  }

  /* One stop for the Tab key; arrows, Home and End within. */
  #step(event) {
    const items = [...this.element.querySelectorAll(".lane-item")];
    const at = items.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = items[Math.min(Math.max(to, 0), items.length - 1)];
    for (const item of items) item.tabIndex = item === next ? 0 : -1;
    next.focus();
  }

  #fill(event) {
    const target = event.target.closest?.("[data-fill]");
    if (!target) return;
    if (!this.player) {
      window.redys.say(t("The player is not ready yet."));
      return;
    }
    const time = momentOf(this.player);
    window.dash_clientside.set_props(target.dataset.fill, { value: time });
    window.redys.say(t("{time} s from the player", { time: say(time, 3) }));
  }

  #key(event) {
    if (event.key.toLowerCase() !== "m" || event.ctrlKey || event.altKey || event.metaKey) return;
    if (!areSingleKeysOn() || event.target.closest("dialog, select, textarea, input:not([type=range], [type=checkbox])")) return;
    event.preventDefault();
    this.#mark();
  }

  #mark() {
    const form = document.getElementById(START);
    if (!form) return;
    const time = momentOf(this.player);
    this.player.clock.pause();
    window.dash_clientside.set_props(START, { value: time });
    window.redys.say(t("A mark at {time} s: choose its kind and add it.", { time: say(time, 3) }));
    const kind = document.getElementById("mark-kind");
    kind?.scrollIntoView({ block: "center" });
    kind?.focus({ preventScroll: true });
  }
}

export async function mount(element) {
  const timeline = new Timeline(element);
  mounted.set(element, timeline);
  await timeline.start();
}

export function unmount(element) {
  mounted.get(element)?.end();
  mounted.delete(element);
}
