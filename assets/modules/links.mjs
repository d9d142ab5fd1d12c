/* Links to a moment: #f=412&j=index_pip names the frame and the joint; unknown keys are left alone. */

const WRITE_EVERY_MS = 250;

/* {frame, joint} of a fragment; null for what it does not name or names wrongly. */
export function parseMoment(hash, nFrames, joints) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const number = values.get("f");
  const valid = number !== null && /^\d{1,9}$/.test(number);
  const joint = values.get("j");
  return {
    frame: valid ? Math.min(Number(number), nFrames - 1) : null,
    joint: joints.includes(joint) ? joint : null,
  };
}

/* The fragment of a moment, keeping other keys that the address already has. */
export function formatMoment(hash, frame, joint) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  values.set("f", String(frame));
  if (joint) values.set("j", joint);
  else values.delete("j");
  return `#${values}`;
}

/* Keep the address and a clock together; a link to a moment brings ``host`` into view. Returns what ends it. */
export function linkClock(clock, joints, host) {
  let timer = null;
  function read() {
    const moment = parseMoment(location.hash, clock.nFrames, joints);
    if (moment.joint) clock.focus(moment.joint);
    if (moment.frame !== null) clock.seek(moment.frame);
  }
  function write() {
    timer = null;
    if (clock.playing || clock.frame < 0) return;
    const hash = formatMoment(location.hash, clock.heading, clock.joint);
    if (hash !== location.hash) history.replaceState(history.state, "", hash);
  }
  function soon() {
    if (!clock.playing && timer === null) timer = setTimeout(write, WRITE_EVERY_MS);
  }
  function follow() {
    read();
    // A list of moments may be far from the player: without this, a link seems to do nothing.
    if (parseMoment(location.hash, clock.nFrames, joints).frame !== null) host.scrollIntoView({ block: "nearest" });
  }
  /* A link to the moment that the address names already changes nothing by itself. */
  function again(event) {
    const link = event.target.closest?.("a[href^='#']");
    if (link && link.hash === location.hash) follow();
  }
  read();
  const opened = clock.heading;
  addEventListener("hashchange", follow);
  document.addEventListener("click", again);
  // The address of a report that was only opened stays clean until the person moves.
  const stopListening = clock.subscribe((frame) => (frame !== opened || location.hash) && soon());
  const stopWatching = clock.watch(() => (clock.frame >= 0 && (clock.frame !== opened || clock.joint)) && soon());
  return () => {
    clearTimeout(timer);
    removeEventListener("hashchange", follow);
    document.removeEventListener("click", again);
    stopListening();
    stopWatching();
  };
}

/* Put the link to this moment on the clipboard; answers whether that worked. */
export async function copyMoment(clock) {
  const url = new URL(location.href);
  url.hash = formatMoment(location.hash, clock.heading, clock.joint);
  try {
    await navigator.clipboard.writeText(url.href);
    return { url: url.href, copied: true };
  } catch {
    return { url: url.href, copied: false };
  }
}
