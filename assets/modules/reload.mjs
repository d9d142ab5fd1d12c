/* A part of the page that, once it is drawn, means that the page is out of date: a run has ended and the
 * server would now draw its report. A moment later, so that the announcement of the end is heard. */

const HEARD_MS = 2000;

const waiting = new WeakMap();

export function mount(element) {
  waiting.set(element, setTimeout(() => window.location.reload(), HEARD_MS));
}

export function unmount(element) {
  clearTimeout(waiting.get(element));
  waiting.delete(element);
}
