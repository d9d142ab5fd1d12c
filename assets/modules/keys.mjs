/* The player's keyboard. Keys act only while the player has the focus, and those of a single character can be
 * switched off (WCAG 2.1.4). */

import { t } from "./words.mjs";

export const SPEEDS = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2];

/* [keys, what they do]; the first ones are no single characters and always act. */
export const HELP = [
  [t("Space"), t("Play or pause")],
  ["← →", t("One frame back or on (also , and .)")],
  [t("Shift + ← →"), t("One second back or on")],
  [t("Home, End"), t("First or last frame")],
  ["[ ]", t("Start or end of the loop here")],
  ["\\", t("No loop")],
  ["N P", t("Next or previous event")],
  ["L", t("Loop the event that is shown")],
  ["− +", t("Slower or faster")],
  ["1 2 3 …", t("Enlarge a camera")],
  ["0", t("All cameras")],
  ["F", t("Full screen, and back")],
  ["M", t("A mark at this moment, where there is a form for marks")],
  ["?", t("This list")],
];

const STORE = "redys-player-keys";

let singleKeys = null; // not asked for yet

/* Whether single characters act; remembered on this computer where the browser keeps anything. */
export function areSingleKeysOn() {
  try {
    singleKeys ??= localStorage.getItem(STORE) !== "off";
  } catch {
    singleKeys = true;
  }
  return singleKeys;
}

export function setSingleKeys(on) {
  singleKeys = on;
  try {
    localStorage.setItem(STORE, on ? "on" : "off");
  } catch (error) {
    console.warn(`The choice of keys holds until this page is left: ${error.message}`);
  }
}

/* Move to the next speed up (1) or down (-1). */
export function nextSpeed(rate, direction) {
  const sorted = direction > 0 ? SPEEDS : [...SPEEDS].reverse();
  return sorted.find((speed) => (speed - rate) * direction > 1e-6) ?? rate;
}

function isTyping(target) {
  return target.closest("input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable=true]");
}

/* Listen on `element`; `player` has clock, solo(number), showHelp(), toggleFull(), goToEvent(direction),
 * loopEvent(). Returns what ends it. */
export function listenToKeys(element, player) {
  const { clock } = player;
  const second = () => Math.round(clock.fps);
  const actions = {
    " ": () => clock.toggle(),
    ArrowLeft: (event) => clock.step(event.shiftKey ? -second() : -1),
    ArrowRight: (event) => clock.step(event.shiftKey ? second() : 1),
    Home: () => clock.seek(0),
    End: () => clock.seek(clock.nFrames - 1),
  };
  const single = {
    ",": () => clock.step(-1),
    ".": () => clock.step(1),
    "[": () => clock.loopFrom(clock.heading),
    "]": () => clock.loopTo(clock.heading),
    "\\": () => clock.setLoop(null, null),
    "-": () => clock.setRate(nextSpeed(clock.rate, -1)),
    "+": () => clock.setRate(nextSpeed(clock.rate, 1)),
    "=": () => clock.setRate(nextSpeed(clock.rate, 1)),
    n: () => player.goToEvent(1),
    p: () => player.goToEvent(-1),
    l: () => player.loopEvent(),
    f: () => player.toggleFull(),
    "?": () => player.showHelp(),
  };
  function onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target)) return;
    if (event.target.closest("dialog")) return;
    // Space presses the button that has the focus, as everywhere.
    if (event.key === " " && event.target.closest("button, summary, [type=checkbox], [type=radio]")) return;
    const digit = /^[0-8]$/.test(event.key) ? () => player.solo(Number(event.key) - 1) : null;
    const character = areSingleKeysOn() ? (single[event.key.toLowerCase()] ?? digit) : null;
    const action = actions[event.key] ?? character;
    if (!action) return;
    event.preventDefault();
    action(event);
  }
  element.addEventListener("keydown", onKey);
  return () => element.removeEventListener("keydown", onKey);
}
