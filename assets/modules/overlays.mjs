/* Points and bones over the pictures, on one transparent canvas above the video. */

const FINGER_COLOURS = ["#56b4e9", "#f0e442", "#e69f00", "#cc79a7", "#7fd1ae"]; // thumb to pinky, on dark pictures
const PALM_COLOUR = "#dfe5ea";
const POINT_COLOUR = "#ffffff";

function fingerOf(joint) {
  return joint === 0 ? PALM_COLOUR : FINGER_COLOURS[Math.floor((joint - 1) / 4)];
}

export class Overlays {
  /* tracks: [{camera, kind: "measured" | "reprojected", values: Int16Array}] of every side and camera. */
  constructor(canvas, index, tracks, shown) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.index = index;
    this.tracks = tracks;
    this.shown = shown; // camera -> Int32Array
    this.visible = { measured: false, reprojected: true };
    this.window = [0, 0, ...index.mosaic.size_px]; // the part of the mosaic on the screen
    this.width = index.joints.length * 2;
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

  draw(frame, joint) {
    const { context, canvas, window } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const scale = canvas.width / window[2];
    context.setTransform(scale, 0, 0, scale, -window[0] * scale, -window[1] * scale);
    const focus = this.index.joints.indexOf(joint);
    let drawn = frame;
    for (const camera of this.index.cameras) {
      if (!this.#isVisible(camera.panel_px)) continue;
      if (this.shown[camera.name][frame] < 0) {
        this.#sayNoPicture(camera, frame, scale);
        continue;
      }
      context.save();
      context.beginPath();
      context.rect(...camera.picture_px);
      context.clip();
      for (const track of this.tracks) {
        if (track.camera !== camera.name || !this.visible[track.kind]) continue;
        const slice = track.values.subarray(frame * this.width, (frame + 1) * this.width);
        drawn = (slice.byteOffset - track.values.byteOffset) / slice.byteLength;
        const points = this.#place(slice, camera.picture_px);
        if (track.kind === "reprojected") this.#drawBones(points, scale);
        else this.#drawPoints(points, scale);
        if (focus >= 0 && points[focus]) this.#drawFocus(points[focus], scale);
      }
      context.restore();
    }
    canvas.dataset.frame = String(drawn);
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
    const time = (number) => `${(number / this.index.rate).toFixed(2)} s`;
    let words = "no picture at this moment";
    if (first > frame) words = `no picture yet: this camera starts at ${time(first)}`;
    else if (last >= 0 && last < frame) words = `no picture any more: this camera ended at ${time(last)}`;
    const [x, y, width, height] = camera.panel_px;
    context.fillStyle = "#c7ced6";
    context.font = `${(13 * (devicePixelRatio || 1)) / scale}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.fillText(words, x + width / 2, y + height / 2);
  }
}
