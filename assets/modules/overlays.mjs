/* Points, bones and the hand's outline over the pictures: above the video a transparent canvas for each camera,
 * as large as the hand needs. One as large as the video would cost more than the video itself where no graphics
 * processor lays them over each other.
 */

import { make } from "./controls.mjs";
import { FrameStream, RaggedStream, SMALL } from "./data.mjs";
import { say, t } from "./words.mjs";

const FINGER_COLOURS = ["#56b4e9", "#f0e442", "#e69f00", "#cc79a7", "#7fd1ae"]; // thumb to pinky, on dark pictures
const PALM_COLOUR = "#dfe5ea";
const POINT_COLOUR = "#ffffff";

function fingerOf(joint) {
  return joint === 0 ? PALM_COLOUR : FINGER_COLOURS[Math.floor((joint - 1) / 4)];
}

const OUTLINE_COLOUR = "#7ff0ff";
const WIDEST_PX = 12; // how far a line or ring reaches beyond its points, on the screen
const SPARE_PX = 200; // of the mosaic: a canvas that is larger by more than this is made smaller
const ROOM_PX = 32; // of the mosaic, about the hand, so that a canvas need not move at every frame

/* The file of a kind of overlay; its rings' starts too, where they differ in length. */
function fileOf(kind, side, camera) {
  return `${kind}_${side}_${camera}.i16`;
}

/* A canvas over a part of the mosaic, moved only when what is drawn comes to lie outside. */
class Sheet {
  constructor(host) {
    this.canvas = make("canvas", { class: "player-sheet" });
    this.context = this.canvas.getContext("2d");
    this.part = null; // [left, top, right, bottom] in pixels of the mosaic
    host.append(this.canvas);
  }

  /* Clear it and lay it over `box` (left, top, right, bottom); null: nothing is drawn. `view` is of Overlays. */
  prepare(box, limits, view) {
    const { canvas, context, part } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (this.drawn) context.clearRect(0, 0, canvas.width, canvas.height);
    this.drawn = box !== null;
    if (!box) return;
    const inside = part && box[0] >= part[0] && box[1] >= part[1] && box[2] <= part[2] && box[3] <= part[3];
    const spare = part ? Math.max(part[2] - part[0] - box[2] + box[0], part[3] - part[1] - box[3] + box[1]) : 0;
    if (!inside || spare > SPARE_PX) this.#move(box, limits, view);
    context.setTransform(view.scale, 0, 0, view.scale, -this.left - view.left * view.scale, -this.top - view.top * view.scale);
  }

  /* On whole pixels of the screen: a canvas between them is blurred, and slow to lay down. */
  #move(box, [left, top, right, bottom], view) {
    this.part = [
      Math.max(box[0] - ROOM_PX, left), Math.max(box[1] - ROOM_PX, top),
      Math.min(box[2] + ROOM_PX, right), Math.min(box[3] + ROOM_PX, bottom),
    ];
    const [x0, y0, x1, y1] = this.part;
    this.left = Math.floor((x0 - view.left) * view.scale);
    this.top = Math.floor((y0 - view.top) * view.scale);
    const width = Math.max(Math.ceil((x1 - view.left) * view.scale) - this.left, 1);
    const height = Math.max(Math.ceil((y1 - view.top) * view.scale) - this.top, 1);
    Object.assign(this.canvas, { width, height });
    const css = { left: this.left, top: this.top, width, height };
    for (const [name, pixels] of Object.entries(css)) this.canvas.style[name] = `${pixels / view.ratio}px`;
  }

  forget() {
    this.part = null;
  }
}

/* What holds all the points of some lists, `room` larger on every side and within `limits`; null without any. */
function surround(lists, room, limits) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const points of lists) {
    for (const point of points) {
      if (!point) continue;
      left = Math.min(left, point[0]);
      right = Math.max(right, point[0]);
      top = Math.min(top, point[1]);
      bottom = Math.max(bottom, point[1]);
    }
  }
  const box = [
    Math.max(left - room, limits[0]), Math.max(top - room, limits[1]),
    Math.min(right + room, limits[2]), Math.min(bottom + room, limits[3]),
  ];
  return box[0] < box[2] && box[1] < box[3] ? box : null;
}

export class Overlays {
  /* `host` is an element over the video; `shown`: camera -> Int32Array; `changed` is called when data that were
   * missing have come. */
  constructor(host, index, shown, signal, changed) {
    Object.assign(this, { host, index, shown, signal, changed });
    this.sheets = new Map(index.cameras.map(({ name }) => [name, new Sheet(host)]));
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

  /* Fit to the host's box on the screen; `window` is the mosaic's part shown there. */
  fit(window) {
    this.window = window;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const scale = (this.host.clientWidth * ratio) / window[2];
    this.view = { ratio, scale, left: window[0], top: window[1] };
    for (const sheet of this.sheets.values()) sheet.forget();
  }

  /* Draw what there is of a frame; answers false while a part of it is on its way. */
  draw(frame, joint) {
    const focus = this.index.joints.indexOf(joint);
    const drawn = new Set([frame]);
    for (const camera of this.index.cameras) {
      const sheet = this.sheets.get(camera.name);
      const isVisible = this.#isVisible(camera.panel_px);
      if (sheet.canvas.hidden === isVisible) sheet.canvas.hidden = !isVisible;
      if (!isVisible || !this.view?.scale) continue;
      const slices = this.#slice(camera.name, frame);
      for (const { part } of slices) drawn.add(part ? part.frame : -1);
      this.context = sheet.context;
      if (this.shown[camera.name][frame] < 0) this.#sayNoPicture(sheet, camera, frame);
      else this.#drawCamera(sheet, camera, slices.filter(({ part }) => part), focus);
    }
    const complete = drawn.size === 1;
    this.host.dataset.frame = complete ? String(frame) : "";
    return complete;
  }

  #drawCamera(sheet, { picture_px: box }, slices, focus) {
    const { scale, ratio } = this.view;
    const lists = slices.map(({ part }) => this.#place(part.values, box));
    const limits = [box[0], box[1], box[0] + box[2], box[1] + box[3]];
    sheet.prepare(surround(lists, (WIDEST_PX * ratio) / scale, limits), limits, this.view);
    if (!sheet.drawn) return;
    slices.forEach(({ kind }, i) => {
      const points = lists[i];
      if (kind === "outline") return this.#drawRings(points, scale);
      if (kind === "reprojected") this.#drawBones(points, scale);
      else this.#drawPoints(points, scale);
      if (focus >= 0 && points[focus]) this.#drawFocus(points[focus], scale);
    });
  }

  /* Ask for what a frame will need. */
  fetch(frame) {
    for (const { name } of this.index.cameras) this.#slice(name, frame);
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

  /* Every ring ends with a missing point. */
  #drawRings(points, scale) {
    const { context } = this;
    const path = new Path2D();
    let open = false;
    for (const point of points) {
      if (!point) {
        if (open) path.closePath();
      } else if (open) path.lineTo(...point);
      else path.moveTo(...point);
      open = Boolean(point);
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

  /* All of one colour in one stroke. */
  #drawBones(points, scale) {
    const { context } = this;
    const [under, byColour] = [new Path2D(), new Map()];
    for (const [a, b] of this.index.bones) {
      if (!points[a] || !points[b]) continue;
      const colour = a === 0 ? PALM_COLOUR : fingerOf(b);
      if (!byColour.has(colour)) byColour.set(colour, new Path2D());
      for (const path of [under, byColour.get(colour)]) {
        path.moveTo(...points[a]);
        path.lineTo(...points[b]);
      }
    }
    context.lineCap = "round";
    for (const [width, colour, path] of [[4.5, "rgba(10, 14, 18, 0.55)", under], ...[...byColour].map((one) => [2.2, ...one])]) {
      context.lineWidth = (width * (devicePixelRatio || 1)) / scale;
      context.strokeStyle = colour;
      context.stroke(path);
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

  #sayNoPicture(sheet, camera, frame) {
    const { context, view: { scale } } = this;
    const pictures = this.shown[camera.name];
    const first = pictures.findIndex((picture) => picture >= 0);
    const last = pictures.findLastIndex((picture) => picture >= 0);
    const time = (number) => say(number / this.index.rate, 2);
    let words = t("no picture at this moment");
    if (first > frame) words = t("no picture yet: this camera starts at {time} s", { time: time(first) });
    else if (last >= 0 && last < frame) words = t("no picture any more: this camera ended at {time} s", { time: time(last) });
    const [x, y, width, height] = camera.panel_px;
    const box = [x, y, x + width, y + height];
    sheet.prepare(box, box, this.view);
    context.fillStyle = "#c7ced6";
    context.font = `${(13 * (devicePixelRatio || 1)) / scale}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.fillText(words, x + width / 2, y + height / 2);
  }
}
