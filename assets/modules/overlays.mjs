/* Points, bones and the hand's outline over the pictures, on one transparent canvas above the video. */

import { FrameStream, RaggedStream, SMALL } from "./data.mjs";
import { say, t } from "./words.mjs";

const FINGER_COLOURS = ["#56b4e9", "#f0e442", "#e69f00", "#cc79a7", "#7fd1ae"]; // thumb to pinky, on dark pictures
const PALM_COLOUR = "#dfe5ea";
const POINT_COLOUR = "#ffffff";

function fingerOf(joint) {
  return joint === 0 ? PALM_COLOUR : FINGER_COLOURS[Math.floor((joint - 1) / 4)];
}

const OUTLINE_COLOUR = "#7ff0ff";

/* The file of a kind of overlay; its rings' starts too, where they differ in length. */
function fileOf(kind, side, camera) {
  return `${kind}_${side}_${camera}.i16`;
}

export class Overlays {
  /* `shown`: camera -> Int32Array; `changed` is called when data that were missing have come. */
  constructor(canvas, index, shown, signal, changed) {
    Object.assign(this, { canvas, index, shown, signal, changed });
    this.context = canvas.getContext("2d");
    this.visible = { outline: false, reprojected: true, measured: false };
    this.window = [0, 0, ...index.mosaic.size_px]; // the part of the mosaic on the screen
    this.width = index.joints.length * 2;
    this.tracks = []; // {camera, kind, side, stream}: of every kind that was visible once
    this.wanted = new Set();
    this.show("reprojected", true);
  }

  /* Whether the recording has this kind of overlay in any of its pictures. */
  has(kind) {
    return Object.keys(this.index.files).some((name) => name.startsWith(`${kind}_`) && name.endsWith(".i16"));
  }

  /* Show or hide a kind; its data are first fetched when it is first shown. */
  show(kind, on) {
    this.visible[kind] = on;
    if (!on || this.wanted.has(kind)) return;
    this.wanted.add(kind);
    const { index, signal, changed } = this;
    for (const side of index.sides) {
      index.cameras.forEach(({ name: camera }, number) => {
        const file = fileOf(kind, side, number);
        if (!index.files[file]) return;
        const stream = kind === "outline"
          ? new RaggedStream(index, file, `outline_start_${side}_${number}.u32`, signal, changed)
          : new FrameStream(index, file, signal, changed, SMALL);
        this.tracks.push({ camera, kind, side, stream });
      });
    }
  }

  /* Fit the canvas to its box on the screen; `window` is the mosaic's part shown there. */
  fit(window) {
    this.window = window;
    const scale = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(this.canvas.clientWidth * scale);
    const height = Math.round(this.canvas.clientHeight * scale);
    if (width !== this.canvas.width || height !== this.canvas.height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
  }

  /* Draw what there is of a frame; answers false while a part of it is on its way. */
  draw(frame, joint) {
    const { context, canvas, window } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const scale = canvas.width / window[2];
    context.setTransform(scale, 0, 0, scale, -window[0] * scale, -window[1] * scale);
    const focus = this.index.joints.indexOf(joint);
    const drawn = new Set([frame]);
    for (const camera of this.index.cameras) {
      if (!this.#isVisible(camera.panel_px)) continue;
      const slices = this.#slice(camera.name, frame);
      for (const { part } of slices) drawn.add(part ? part.frame : -1);
      if (this.shown[camera.name][frame] < 0) {
        this.#sayNoPicture(camera, frame, scale);
        continue;
      }
      context.save();
      context.beginPath();
      context.rect(...camera.picture_px);
      context.clip();
      for (const { kind, part } of slices) {
        if (part) this.#drawTrack(kind, part.values, camera.picture_px, scale, focus);
      }
      context.restore();
    }
    const complete = drawn.size === 1;
    canvas.dataset.frame = complete ? String(frame) : "";
    return complete;
  }

  /* What is visible of a camera, the outline below. Asked for without a picture too: it will soon be wanted. */
  #slice(camera, frame) {
    const slices = [];
    for (const kind of ["outline", "reprojected", "measured"]) {
      if (!this.visible[kind]) continue;
      for (const track of this.tracks) {
        if (track.camera === camera && track.kind === kind) slices.push({ kind, part: track.stream.at(frame) });
      }
    }
    return slices;
  }

  #drawTrack(kind, values, box, scale, focus) {
    if (kind === "outline") return this.#drawRings(values, box, scale);
    const points = this.#place(values, box);
    if (kind === "reprojected") this.#drawBones(points, scale);
    else this.#drawPoints(points, scale);
    if (focus >= 0 && points[focus]) this.#drawFocus(points[focus], scale);
  }

  /* Every ring ends with a missing point. */
  #drawRings(values, [x, y, width, height], scale) {
    const { context } = this;
    const { point_steps: steps, missing } = this.index;
    const path = new Path2D();
    let open = false;
    for (let i = 0; i < values.length; i += 2) {
      if (values[i] === missing.i16) {
        if (open) path.closePath();
        open = false;
        continue;
      }
      const [u, v] = [x + (values[i] / steps) * width, y + (values[i + 1] / steps) * height];
      if (open) path.lineTo(u, v);
      else path.moveTo(u, v);
      open = true;
    }
    context.lineJoin = "round";
    for (const [line, colour] of [[3.6, "rgba(10, 14, 18, 0.6)"], [1.6, OUTLINE_COLOUR]]) {
      context.lineWidth = (line * (devicePixelRatio || 1)) / scale;
      context.strokeStyle = colour;
      context.stroke(path);
    }
  }

  #isVisible([x, y, width, height]) {
    const [left, top, across, down] = this.window;
    return x < left + across && left < x + width && y < top + down && top < y + height;
  }

  #place(slice, [x, y, width, height]) {
    const points = [];
    const { point_steps: steps, missing } = this.index;
    for (let i = 0; i < slice.length; i += 2) {
      const absent = slice[i] === missing.i16;
      points.push(absent ? null : [x + (slice[i] / steps) * width, y + (slice[i + 1] / steps) * height]);
    }
    return points;
  }

  #drawBones(points, scale) {
    const { context } = this;
    context.lineCap = "round";
    for (const [width, dark] of [[4.5, true], [2.2, false]]) {
      context.lineWidth = (width * (devicePixelRatio || 1)) / scale;
      for (const [a, b] of this.index.bones) {
        if (!points[a] || !points[b]) continue;
        context.strokeStyle = dark ? "rgba(10, 14, 18, 0.55)" : a === 0 ? PALM_COLOUR : fingerOf(b);
        context.beginPath();
        context.moveTo(...points[a]);
        context.lineTo(...points[b]);
        context.stroke();
      }
    }
  }

  #drawPoints(points, scale) {
    const { context } = this;
    const radius = (2.6 * (devicePixelRatio || 1)) / scale;
    context.lineWidth = (1.3 * (devicePixelRatio || 1)) / scale;
    points.forEach((point, joint) => {
      if (!point) return;
      context.beginPath();
      context.arc(...point, radius, 0, 2 * Math.PI);
      context.fillStyle = fingerOf(joint);
      context.strokeStyle = "rgba(10, 14, 18, 0.9)";
      context.fill();
      context.stroke();
    });
  }

  #drawFocus(point, scale) {
    const { context } = this;
    context.lineWidth = (2 * (devicePixelRatio || 1)) / scale;
    context.strokeStyle = POINT_COLOUR;
    context.beginPath();
    context.arc(...point, (8 * (devicePixelRatio || 1)) / scale, 0, 2 * Math.PI);
    context.stroke();
  }

  #sayNoPicture(camera, frame, scale) {
    const { context } = this;
    const pictures = this.shown[camera.name];
    const first = pictures.findIndex((picture) => picture >= 0);
    const last = pictures.findLastIndex((picture) => picture >= 0);
    const time = (number) => say(number / this.index.rate, 2);
    let words = t("no picture at this moment");
    if (first > frame) words = t("no picture yet: this camera starts at {time} s", { time: time(first) });
    else if (last >= 0 && last < frame) words = t("no picture any more: this camera ended at {time} s", { time: time(last) });
    const [x, y, width, height] = camera.panel_px;
    context.fillStyle = "#c7ced6";
    context.font = `${(13 * (devicePixelRatio || 1)) / scale}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.fillText(words, x + width / 2, y + height / 2);
  }
}
