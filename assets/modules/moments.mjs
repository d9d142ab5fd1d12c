/* The flagged events of a recording in the player: marks on the seek bar, a walk from one to the next, a loop of
 * one. They are those of the report's lists, in the order of time.
 *
 * data-events of the player's element: [[frame, first, last, kind, joint, side], ...]; `frame` is where its link
 * leads, `first` to `last` is how long it lasts, `kind` is "posture" or "brisk".
 */

import { make } from "./controls.mjs";
import { t } from "./words.mjs";

const AROUND_S = 0.5; // a loop of an event shows what leads to it and what follows

const FINGERS = { thumb: t("Thumb"), index: t("Index"), middle: t("Middle"), ring: t("Ring"), pinky: t("Little") };
const PARTS = { cmc: "CMC", mcp: "MCP", pip: "PIP", dip: "DIP", ip: "IP", tip: t("tip") };

/* A joint in a few letters: "Little PIP". */
export function nameJoint(joint) {
  const [finger, part] = joint.split("_");
  return part ? `${FINGERS[finger]} ${PARTS[part]}` : t("Wrist");
}

export class Moments {
  constructor(element, clock) {
    this.clock = clock;
    this.list = JSON.parse(element.dataset.events ?? "[]")
      .map(([frame, first, last, kind, joint, side]) => ({ frame, first, last, kind, joint, side }))
      .sort((a, b) => a.frame - b.frame || a.first - b.first);
    this.at = null; // the event that was gone to last
  }

  /* Go to the next (1) or previous (-1) event; answers it, or null where there is none. */
  go(direction) {
    const { clock, list } = this;
    const here = this.#standsAt() ? list.indexOf(this.at) : null;
    let number;
    if (here !== null) number = here + direction;
    else if (direction > 0) number = list.findIndex(({ frame }) => frame > clock.heading);
    else number = list.findLastIndex(({ frame }) => frame < clock.heading);
    const found = list[number] ?? null;
    if (!found) return null;
    this.at = found;
    clock.pause();
    clock.focus(found.joint);
    clock.seek(found.frame);
    return found;
  }

  #standsAt() {
    return this.at !== null && this.at.frame === this.clock.heading;
  }

  /* The event shown: the one gone to, else one that lasts now, else the nearest. */
  current() {
    if (this.#standsAt()) return this.at;
    const now = this.clock.heading;
    const away = ({ first, last }) => Math.max(first - now, now - last, 0);
    return this.list.reduce((best, one) => (best === null || away(one) < away(best) ? one : best), null);
  }

  /* Play the event shown over and over, with half a second before and after; answers it, or null. */
  loop() {
    const { clock } = this;
    const found = this.current();
    if (!found) return null;
    const around = Math.round(AROUND_S * clock.fps);
    const [first, last] = [Math.max(found.first - around, 0), Math.min(found.last + around, clock.nFrames - 1)];
    clock.setLoop(first, last);
    clock.focus(found.joint);
    if (clock.heading < first || clock.heading > last) clock.seek(first);
    return found;
  }

  describe(event) {
    const values = { n: this.list.indexOf(event) + 1, total: this.list.length, joint: nameJoint(event.joint) };
    return event.kind === "posture"
      ? t("Event {n} of {total}: sustained posture, {joint}", values)
      : t("Event {n} of {total}: brisk movement, {joint}", values);
  }

  /* Marks for the seek bar: postures as bars of their length, brisk movements as lines. */
  marks() {
    const last = Math.max(this.clock.nFrames - 1, 1);
    const strip = make("div", { class: "player-events", "aria-hidden": "true" });
    for (const { frame, first, last: end, kind } of this.list) {
      const mark = make("i", { class: `player-event player-event-${kind}` });
      mark.style.left = `${((kind === "posture" ? first : frame) / last) * 100}%`;
      if (kind === "posture") mark.style.width = `${((end - first) / last) * 100}%`;
      strip.append(mark);
    }
    return strip;
  }

  /* What the marks mean, of the kinds that there are. */
  legend() {
    const words = { posture: t("sustained posture"), brisk: t("brisk movement") };
    const kinds = Object.keys(words).filter((kind) => this.list.some((event) => event.kind === kind));
    return make("span", { class: "player-legend" }, ...kinds.map((kind) => (
      make("span", { class: "legend-item" }, make("span", { class: `player-event-sample player-event-${kind}`, "aria-hidden": "true" }), words[kind])
    )));
  }
}
