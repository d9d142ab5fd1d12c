/* The player's keyboard. Keys act only while the player has the focus (WCAG 2.1.4). */

export const SPEEDS = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2];

export const HELP = [
  ["Space", "Play or pause"],
  ["← →", "One frame back or on (also , and .)"],
  ["Shift + ← →", "One second back or on"],
  ["Home, End", "First or last frame"],
  ["[ ]", "Start or end of the loop here"],
  ["\\", "No loop"],
  ["− +", "Slower or faster"],
  ["1 2 3 …", "Enlarge a camera"],
  ["0", "All cameras"],
  ["?", "This list"],
];

/* Move to the next speed up (1) or down (-1). */
export function nextSpeed(rate, direction) {
  const sorted = direction > 0 ? SPEEDS : [...SPEEDS].reverse();
  return sorted.find((speed) => (speed - rate) * direction > 1e-6) ?? rate;
}

function isTyping(target) {
  return target.closest("input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable=true]");
}

/* Listen on `element`; `player` has clock, solo(number), showHelp(). Returns what ends it. */
export function listenToKeys(element, player) {
  const { clock } = player;
  const second = () => Math.round(clock.fps);
  const actions = {
    " ": () => clock.toggle(),
    ArrowLeft: (event) => clock.step(event.shiftKey ? -second() : -1),
    ArrowRight: (event) => clock.step(event.shiftKey ? second() : 1),
    ",": () => clock.step(-1),
    ".": () => clock.step(1),
    Home: () => clock.seek(0),
    End: () => clock.seek(clock.nFrames - 1),
    "[": () => clock.setLoop(clock.heading, clock.loop[1]),
    "]": () => clock.setLoop(clock.loop[0] ?? 0, clock.heading),
    "\\": () => clock.setLoop(null, null),
    "-": () => clock.setRate(nextSpeed(clock.rate, -1)),
    "+": () => clock.setRate(nextSpeed(clock.rate, 1)),
    "=": () => clock.setRate(nextSpeed(clock.rate, 1)),
    "?": () => player.showHelp(),
  };
  function onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target)) return;
    // Space presses the button that has the focus, as everywhere.
    if (event.key === " " && event.target.closest("button, summary, [type=checkbox], [type=radio]")) return;
    const digit = /^[0-8]$/.test(event.key) ? () => player.solo(Number(event.key) - 1) : null;
    const action = actions[event.key] ?? digit;
    if (!action) return;
    event.preventDefault();
    action(event);
  }
  element.addEventListener("keydown", onKey);
  return () => element.removeEventListener("keydown", onKey);
}
