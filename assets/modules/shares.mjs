/* The map of percentiles: a click on a cell shows a moment of each visit with that value.
 *
 * <div data-module="shares"> a Dash graph </div>; points carry [a_s, b_s] in customdata, traces the joints of
 * their rows in meta.
 */

import { alignAt } from "./alignment.mjs";

const mounted = new Map();

class Shares {
  constructor(element) {
    this.element = element;
    this.click = this.click.bind(this);
    this.fit = this.fit.bind(this);
    this.observer = new MutationObserver(() => this.attach());
    this.observer.observe(element, { childList: true, subtree: true });
    this.attach();
  }

  attach() {
    const plot = this.element.querySelector(".js-plotly-plot");
    if (!plot?._fullLayout || !plot.on || plot === this.plot) return;
    this.detach();
    this.plot = plot;
    plot.on("plotly_click", this.click);
    plot.on("plotly_afterplot", this.fit);
    this.fit();
  }

  detach() {
    this.plot?.removeListener?.("plotly_click", this.click);
    this.plot?.removeListener?.("plotly_afterplot", this.fit);
    this.plot = null;
  }

  /* Stripes exactly behind the plot, where a cell is see-through. */
  fit() {
    const hatch = this.element.querySelector(".plot-hatch");
    const layout = this.plot?._fullLayout;
    if (!hatch || !layout?.xaxis) return;
    Object.assign(hatch.style, {
      left: `${layout.xaxis._offset}px`, width: `${layout.xaxis._length}px`,
      top: `${this.plot.offsetTop + layout.yaxis._offset}px`, height: `${layout.yaxis._length}px`,
    });
  }

  click(event) {
    const [point] = event.points;
    const [aS, bS] = point.customdata ?? [];
    if (!Number.isFinite(aS) || !Number.isFinite(bS)) return;
    alignAt(aS, bS, point.data.meta?.[point.pointNumber[0]] ?? null);
    document.getElementById("player")?.scrollIntoView({ block: "nearest" });
  }

  dispose() {
    this.observer.disconnect();
    this.detach();
  }
}

export function mount(element) {
  mounted.set(element, new Shares(element));
}

export function unmount(element) {
  mounted.get(element)?.dispose();
  mounted.delete(element);
}
