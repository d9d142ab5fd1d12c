/* Plots that follow the player: a line at the playhead, and a click on the plot goes there.
 *
 * <div data-module="cursors" data-player="player"> <div class="cursor-line"></div> a Dash graph </div>
 * Traces carry in `meta` the joint of the curve, or a list of joints by row of a heat map. The x axis is in s.
 */

import { whenPlayer } from "./clock.mjs";

const mounted = new Map();
const NEAR = "700px 0px"; // this far off the screen a plot is fetched

/* Index of the entry of ascending `times` that is nearest to `time`. */
export function nearestIndex(times, time) {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1;
    else high = middle;
  }
  return low > 0 && time - times[low - 1] <= times[low] - time ? low - 1 : low;
}

function plotOf(element) {
  const plot = element.querySelector(".js-plotly-plot");
  return plot && plot._fullLayout && plot.on ? plot : null;
}

function jointOf(point) {
  const { meta } = point.data;
  return Array.isArray(meta) ? meta[point.pointNumber[0]] : meta;
}

class Cursor {
  constructor(element) {
    this.element = element;
    this.alive = true;
    this.place = this.place.bind(this);
    this.redraw = this.redraw.bind(this);
    this.click = this.click.bind(this);
    this.attach = this.attach.bind(this);
  }

  /* A plot that is fetched only when it comes near the screen, or onto paper. */
  wait() {
    const { late } = this.element.dataset;
    if (!late) return;
    const want = () => {
      this.near?.disconnect();
      removeEventListener("beforeprint", want);
      window.dash_clientside?.set_props({ type: "late-wanted", key: late }, { data: true });
    };
    this.near = new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && want(), { rootMargin: NEAR });
    this.near.observe(this.element);
    addEventListener("beforeprint", want);
    this.stopWaiting = () => {
      this.near.disconnect();
      removeEventListener("beforeprint", want);
    };
  }

  async start() {
    this.player = await whenPlayer(this.element.dataset.player);
    if (!this.alive) return;
    // Dash draws a graph after its element is there, and anew when its figure changes.
    this.observer = new MutationObserver(this.attach);
    this.observer.observe(this.element, { childList: true, subtree: true });
    this.attach();
    this.stop = this.player.clock.subscribe(this.place);
    this.stopWatching = this.player.clock.watch(() => this.choose());
  }

  attach() {
    const plot = plotOf(this.element);
    if (!plot || plot === this.plot) return;
    this.detach();
    this.plot = plot;
    plot.on("plotly_click", this.click);
    plot.on("plotly_afterplot", this.redraw);
    this.redraw();
    if (this.player) this.choose();
  }

  detach() {
    this.plot?.removeListener?.("plotly_click", this.click);
    this.plot?.removeListener?.("plotly_afterplot", this.redraw);
    this.plot = null;
  }

  /* Stripes exactly behind the plot, where a heat map has no value. */
  #fitHatch() {
    const hatch = this.element.querySelector(".plot-hatch");
    const layout = this.plot?._fullLayout;
    if (!hatch || !layout?.xaxis) return;
    const { xaxis, yaxis } = layout;
    Object.assign(hatch.style, {
      left: `${xaxis._offset}px`, width: `${xaxis._length}px`,
      top: `${this.plot.offsetTop + yaxis._offset}px`, height: `${yaxis._length}px`,
    });
  }

  redraw() {
    this.#fitHatch();
    this.#measure();
    if (this.player) this.place();
  }

  /* Where the plot lies in its element: read once a drawing, since reading it at every frame would lay out the
   * page at every frame. */
  #measure() {
    const line = this.element.querySelector(".cursor-line");
    const layout = this.plot?._fullLayout;
    this.axis = layout?.xaxis ?? null;
    this.line = line;
    if (!line || !this.axis) return;
    const { t: top, b: bottom } = layout._size;
    line.style.top = `${this.plot.offsetTop + top}px`;
    line.style.height = `${layout.height - top - bottom}px`;
  }

  place() {
    const { line, axis } = this;
    const { frame } = this.player.clock;
    if (!line || !axis || frame < 0) return;
    const at = axis.d2p(this.player.times[frame]);
    const isInside = at >= 0 && at <= axis._length;
    if (line.hidden === isInside) line.hidden = !isInside;
    line.style.transform = `translateX(${axis._offset + at}px)`;
    this.element.dataset.frame = String(frame);
  }

  click(event) {
    const point = event.points[0];
    const joint = jointOf(point);
    if (joint) this.player.clock.focus(joint);
    this.player.clock.pause();
    this.player.clock.seek(nearestIndex(this.player.times, point.x));
  }

  /* The finger of the joint in focus chooses the curves that are shown, where there is such a choice. */
  choose() {
    const { choice } = this.element.dataset;
    const finger = this.player.clock.joint?.split("_")[0];
    if (!choice || !this.plot || !finger || finger === "wrist" || finger === this.finger) return;
    this.finger = finger;
    window.dash_clientside?.set_props(choice, { value: finger });
  }

  dispose() {
    this.alive = false;
    this.stopWaiting?.();
    this.observer?.disconnect();
    this.stop?.();
    this.stopWatching?.();
    this.detach();
  }
}

export function mount(element) {
  const cursor = new Cursor(element);
  mounted.set(element, cursor);
  cursor.wait();
  cursor.start(); // waits for the player, which may never come
}

export function unmount(element) {
  mounted.get(element)?.dispose();
  mounted.delete(element);
}
