/* Sound as a picture, and how well offsets fit: what pipeline/sync/waveforms.py wrote, read and drawn.
 * No element of the page is made here; times are in s, `rate` is samples a second. */

import { say, t } from "./words.mjs";

/* Seed 000's thresholds of the confidence. */
export const RELIABLE = 0.7;
export const CHECK = 0.3;

/* Peaks closer than this are one tone's periods and the room's echoes, not a repeat of the music. */
const CLEARANCE_S = 0.1;
const TOP_SHARE = 0.7; // a hill goes on while it is this high
export const MOST_PEAKS = 12;
const NEAR_S = 0.02; // the fit is sharper than the hill of confidence that it belongs to
const REFINE_S = 2e-3;
const REFINE_LENGTH_S = 12;
const MOST_REACH_S = 0.25;
const THIN = 4;

export const INK = { line: "#1c2733", quiet: "#52606d", grid: "#c5ced8", paper: "#ffffff" };
/* Reference and camera differ in lightness and in shape: filled dark, outlined and pale. */
export const REFERENCE = { fill: "#08455c", line: "#08455c" };
export const CAMERA = { fill: "#fbd9b5", line: "#b34700" };

async function get(url, signal) {
  const answer = await fetch(url, { credentials: "same-origin", signal });
  if (!answer.ok) throw new Error(t("the server answered {status} for {file}", { status: answer.status, file: url.split("/").pop() }));
  return answer.arrayBuffer();
}

/* One camera's sound: the lowest and highest of every 5 ms at once, the samples when they have come. */
export class Track {
  constructor(camera, base, settings) {
    this.camera = camera;
    this.base = base;
    this.rate = settings.rate_hz;
    this.peaksPerS = settings.peaks_per_s;
    this.length = camera.sound_s;
    this.samples = null;
    this.buffer = null;
  }

  async load(signal) {
    const pairs = new Int8Array(await get(`${this.base}/${this.camera.peaks}`, signal));
    if (!pairs.length || pairs.length % 2) throw new Error(t("{file} came incomplete", { file: this.camera.peaks }));
    this.pairs = pairs;
  }

  /* The samples as an AudioBuffer; decoded at the files' own rate, so that sample k is at k / rate. */
  loadSamples(signal) {
    this.coming ??= get(`${this.base}/${this.camera.sound}`, signal)
      .then((bytes) => new OfflineAudioContext(1, 1, this.rate).decodeAudioData(bytes))
      .then((buffer) => {
        this.buffer = buffer;
        this.samples = buffer.getChannelData(0);
        return buffer;
      })
      .catch((error) => {
        this.coming = null;
        throw error;
      });
    return this.coming;
  }

  /* Lowest and highest between two times, on the scale where 1 is the track's largest; null outside. */
  extremes(start, end) {
    if (end <= 0 || start >= this.length) return null;
    const fine = this.samples && end - start < 2 / this.peaksPerS;
    const rate = fine ? this.rate : this.peaksPerS;
    const count = fine ? this.samples.length : this.pairs.length / 2;
    const first = Math.max(0, Math.min(count - 1, Math.floor(start * rate)));
    const last = Math.max(first + 1, Math.min(count, Math.ceil(end * rate)));
    let low = Infinity;
    let high = -Infinity;
    for (let k = first; k < last; k += 1) {
      const bottom = fine ? this.samples[k] / this.camera.peak : this.pairs[2 * k] / 127;
      const top = fine ? bottom : this.pairs[2 * k + 1] / 127;
      if (bottom < low) low = bottom;
      if (top > high) high = top;
    }
    return [low, high];
  }
}

/* Two ratings of each offset (0 to 1) for a camera: the confidence, which reaches its ceiling at many offsets of
 * music, and the fit, which is 1 at the best alone. `shift` is what its drift adds in the middle. */
export class Match {
  constructor(values, fits, settings, shift, span) {
    this.values = values;
    this.first = settings.first_s + shift;
    this.step = settings.step_s;
    this.span = span; // offsets at which both were recording at once
    this.peaks = findPeaks(values, this.step).map((peak) => ({
      offset: this.first + peak.index * this.step, confidence: peak.value / 255, reach: peak.reach * this.step,
      fit: highestNear(fits, peak.index, peak.reach + Math.round(NEAR_S / this.step)) / 255,
    }));
  }

  static async load(urls, settings, shift, span, signal) {
    const [values, fits] = await Promise.all(urls.map(async (url) => new Uint8Array(await get(url, signal))));
    if (values.length < 3 || fits.length !== values.length) throw new Error(t("how well offsets fit came incomplete"));
    return new Match(values, fits, settings, shift, span);
  }

  /* Confidence at an offset; null where it was not rated. */
  at(offset) {
    const value = this.values[Math.round((offset - this.first) / this.step)];
    return value === undefined ? null : value / 255;
  }

  /* The highest between two offsets; null outside. */
  highest(start, end) {
    const first = Math.max(0, Math.floor((start - this.first) / this.step));
    const last = Math.min(this.values.length - 1, Math.ceil((end - this.first) / this.step));
    if (last < first) return null;
    let high = 0;
    for (let k = first; k <= last; k += 1) if (this.values[k] > high) high = this.values[k];
    return high / 255;
  }
}

function highestNear(values, index, reach) {
  return values.subarray(Math.max(0, index - reach), index + reach + 1).reduce((high, value) => Math.max(high, value), 0);
}

/* The hills of a curve: {index, value, reach}, from left to right, the highest of them where there are many.
 * The confidence stops at 1, so a repeat of the music is a hill with a flat or ragged top: its middle counts, and
 * `reach` says how far to both sides its top goes, in steps. */
export function findPeaks(values, step) {
  const clearance = Math.round(CLEARANCE_S / step);
  const free = new Uint8Array(values.length).fill(1);
  const found = [];
  for (let tries = 0; tries < 4 * MOST_PEAKS && found.length < 2 * MOST_PEAKS; tries += 1) {
    let best = -1;
    for (let k = 0; k < values.length; k += 1) if (free[k] && (best < 0 || values[k] > values[best])) best = k;
    if (best < 0 || values[best] === 0) break;
    const value = values[best];
    const foot = [-1, 1].map((way) => walk(values, free, best, way, clearance, TOP_SHARE * value));
    const top = [foot[0], foot[1]];
    while (values[top[0]] < value) top[0] += 1;
    while (values[top[1]] < value) top[1] -= 1;
    const index = Math.round((top[0] + top[1]) / 2);
    // What is left beside a hill that was found goes up to it: it is no hill of its own.
    const isSlope = [foot[0] - 1, foot[1] + 1].some((k) => free[k] === 0);
    let mass = 0;
    for (let k = foot[0]; k <= foot[1]; k += 1) mass += values[k];
    free.fill(0, Math.max(0, foot[0] - clearance), foot[1] + clearance + 1);
    if (!isSlope) found.push({ index, value, mass, reach: Math.ceil((top[1] - top[0]) / 2) });
  }
  found.sort((a, b) => b.value - a.value || b.mass - a.mass);
  const least = Math.max(255 * CHECK * 0.8, 0.4 * (found[0]?.value ?? 0));
  const kept = found.slice(0, MOST_PEAKS).filter((peak, place) => place < 3 || peak.value >= least);
  return kept.sort((a, b) => a.index - b.index);
}

/* The last free place on one side of `from` that is at least `least`, with gaps of no more than `clearance`. */
function walk(values, free, from, way, clearance, least) {
  let last = from;
  for (let k = from; free[k] && Math.abs(k - last) <= clearance; k += way) if (values[k] >= least) last = k;
  return last;
}

/* The offset near a peak at which two sounds fit best, to a fraction of a sample: roughly within `reach` seconds,
 * then finely, with a parabola through the highest of the correlation; over the loudest stretch that both share,
 * or over the middle one where a drift makes the offset another at every place. */
export function refineOffset(reference, target, rate, offset, { reach = 0, drifts = false } = {}) {
  let rough = offset;
  if (reach > 0) {
    const both = [reference, target].map((samples) => thin(samples, THIN));
    rough = correlateNear(both[0], both[1], rate / THIN, offset, Math.min(reach, MOST_REACH_S) + REFINE_S, drifts);
  }
  return correlateNear(reference, target, rate, rough, REFINE_S, drifts);
}

function thin(samples, factor) {
  const out = new Float32Array(Math.floor(samples.length / factor));
  for (let k = 0; k < out.length; k += 1) {
    let sum = 0;
    for (let j = 0; j < factor; j += 1) sum += samples[k * factor + j];
    out[k] = sum / factor;
  }
  return out;
}

function correlateNear(reference, target, rate, offset, reachS, drifts) {
  const reach = Math.round(reachS * rate);
  const shift = Math.round(offset * rate); // target sample k is at reference sample k + shift
  const first = Math.max(0, reach - shift);
  const last = Math.min(target.length, reference.length - shift - reach);
  const length = Math.min(last - first, Math.round(REFINE_LENGTH_S * rate));
  if (length < rate / 10) return offset;
  const start = drifts ? Math.round((first + last - length) / 2) : loudestStart(target, first, last, length);
  const sums = new Float64Array(2 * reach + 1);
  for (let lag = -reach; lag <= reach; lag += 1) {
    let sum = 0;
    for (let k = start; k < start + length; k += 1) sum += target[k] * reference[k + shift + lag];
    sums[lag + reach] = sum;
  }
  let [highest, lowest] = [0, 0];
  for (const sum of sums) [highest, lowest] = [Math.max(highest, sum), Math.min(lowest, sum)];
  const sign = highest >= -lowest ? 1 : -1; // a microphone may be wired the other way
  const best = sums.indexOf(sign > 0 ? highest : lowest);
  let part = 0;
  if (best > 0 && best < sums.length - 1) {
    const [left, top, right] = [sums[best - 1], sums[best], sums[best + 1]];
    const bend = left - 2 * top + right;
    if (sign * bend < 0) part = (left - right) / (2 * bend);
  }
  return (shift + best - reach + part) / rate;
}

function loudestStart(samples, first, last, length) {
  const hop = Math.max(1, Math.round(length / 8));
  let best = first;
  let most = -1;
  for (let start = first; start + length <= last; start += hop) {
    let energy = 0;
    for (let k = start; k < start + length; k += 7) energy += samples[k] * samples[k];
    if (energy > most) [best, most] = [start, energy];
  }
  return best;
}

/* A word for a confidence at the thresholds of seed 000, and a mark: where several offsets reach the upper one, none of
 * them is reliable, whatever the number says. */
export function rate(confidence, rivals = 0) {
  if (confidence === null || confidence === undefined) return { word: t("cannot tell"), level: "unknown" };
  if (confidence >= RELIABLE) return { word: t("high"), level: rivals > 1 ? "between" : "within" };
  if (confidence >= CHECK) return { word: t("middling"), level: "between" };
  return { word: t("low"), level: "beyond" };
}

/* --- drawing ----------------------------------------------------------------------------------- */

/* Make a canvas as sharp as the screen; gives the context in CSS pixels, and the size. */
export function prepare(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const sharp = window.devicePixelRatio || 1;
  const [across, down] = [Math.max(1, Math.round(width * sharp)), Math.max(1, Math.round(height * sharp))];
  if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
  const context = canvas.getContext("2d");
  context.setTransform(sharp, 0, 0, sharp, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  return { context, width, height };
}

/* A track between two edges of a canvas. `offset` moves it on the axis, `view` is {start, span}. */
export function drawTrack(context, track, { offset, view, width, top, height, style, pale = false }) {
  const middle = top + height / 2;
  const bars = [];
  let largest = 0.02;
  for (let x = 0; x < width; x += 1) {
    const start = view.start + (x / width) * view.span - offset;
    const found = track.extremes(start, start + view.span / width);
    bars.push(found);
    if (found) largest = Math.max(largest, -found[0], found[1]);
  }
  const scale = (0.94 * height) / 2 / largest;
  context.save();
  context.lineWidth = 1.2;
  context.strokeStyle = style.line;
  context.fillStyle = style.fill;
  context.globalAlpha = 1;
  if (track.samples && view.span / width < 1 / track.rate) {
    drawSamples(context, track, { offset, view, width, middle, scale });
  } else {
    for (let x = 0; x < width; ) {
      if (!bars[x]) { x += 1; continue; }
      const from = x;
      while (x < width && bars[x]) x += 1;
      context.beginPath();
      for (let k = from; k < x; k += 1) context.lineTo(k + 0.5, middle - scale * bars[k][1] - 0.5);
      for (let k = x - 1; k >= from; k -= 1) context.lineTo(k + 0.5, middle - scale * bars[k][0] + 0.5);
      context.closePath();
      context.globalAlpha = pale ? 0.55 : 1;
      context.fill();
      context.globalAlpha = 1;
      context.stroke();
    }
  }
  context.restore();
}

function drawSamples(context, track, { offset, view, width, middle, scale }) {
  const first = Math.max(0, Math.floor((view.start - offset) * track.rate));
  const last = Math.min(track.samples.length - 1, Math.ceil((view.start + view.span - offset) * track.rate));
  context.beginPath();
  for (let k = first; k <= last; k += 1) {
    const x = ((k / track.rate + offset - view.start) / view.span) * width;
    context.lineTo(x, middle - (scale * track.samples[k]) / track.camera.peak);
  }
  context.lineWidth = 2;
  context.stroke();
}

/* The step of an axis: 1, 2 or 5 times a power of ten, about `wanted` of them over a span. */
export function axisStep(span, wanted) {
  const rough = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
}

export function decimals(step) {
  return Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
}

export function drawTimes(context, { view, width, top, unit = "s" }) {
  const step = axisStep(view.span, width / 90);
  context.save();
  context.fillStyle = INK.quiet;
  context.strokeStyle = INK.grid;
  context.textBaseline = "top";
  const digits = decimals(step);
  for (let k = Math.ceil(view.start / step); k * step <= view.start + view.span; k += 1) {
    const x = ((k * step - view.start) / view.span) * width;
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x, top + 4);
    context.stroke();
    const text = `${sayNumber(k * step, digits)} ${unit}`;
    const half = context.measureText(text).width / 2;
    if (x - half >= 0 && x + half <= width) context.fillText(text, x - half, top + 5);
  }
  context.restore();
}

/* A number as the pages print it: a true minus sign, no "-0". */
export function sayNumber(value, digits, signed = false) {
  const rounded = Number(value.toFixed(digits)) + 0;
  const sign = signed && rounded > 0 ? "+" : "";
  return (sign + say(rounded, digits)).replace("-", "−");
}
