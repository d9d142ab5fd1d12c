/* A part of the page that, once it is drawn, means that the page is out of date: a run has ended and the
 * server would now draw its report. */
export function mount() {
  window.location.reload();
}
