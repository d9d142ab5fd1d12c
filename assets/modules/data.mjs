/* Reads what pipeline/export/web.py wrote: index.json and raw little-endian arrays. */

const KINDS = {
  uint8: Uint8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
};

/* Below this a file is fetched whole; above it in ranges, so that a long recording starts at once. */
const WHOLE_BYTES = 20e6;
const CHUNK_BYTES = 2e6;
const KEPT_CHUNKS = 12;

async function get(url, options) {
  const answer = await fetch(url, { credentials: "same-origin", ...options });
  if (!answer.ok) throw new Error(`The server answered ${answer.status} for ${url}`);
  return answer;
}

/* The index of a run's web folder. `base` is its address without a slash at the end. */
export async function loadIndex(base, signal) {
  const index = await (await get(`${base}/index.json`, { signal })).json();
  if (index.schema_version !== 1) {
    throw new Error(`The recording's data have schema ${index.schema_version}; this page reads 1`);
  }
  return { ...index, base, rate: index.fps[0] / index.fps[1] };
}

/* One array as a typed array, in the order of its shape. */
export async function loadArray(index, name, signal) {
  const file = index.files[name];
  if (!file) throw new Error(`The recording has no ${name}`);
  const buffer = await (await get(`${index.base}/${name}`, { signal })).arrayBuffer();
  if (buffer.byteLength !== file.bytes) throw new Error(`${name} arrived with ${buffer.byteLength} of ${file.bytes} bytes`);
  return new KINDS[file.dtype](buffer);
}

/* An array whose first axis is time, given frame by frame: whole when small, in ranges when large. */
export class FrameStream {
  constructor(index, name, signal, changed) {
    const file = index.files[name];
    this.url = `${index.base}/${name}`;
    this.signal = signal;
    this.changed = changed; // called when a frame that was asked for in vain has come
    this.kind = KINDS[file.dtype];
    this.nFrames = file.shape[0];
    this.width = file.shape.slice(1).reduce((a, b) => a * b, 1);
    this.frameBytes = this.width * this.kind.BYTES_PER_ELEMENT;
    const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / this.frameBytes));
    this.framesPerChunk = file.bytes <= WHOLE_BYTES ? this.nFrames : perChunk;
    this.chunks = new Map(); // number -> array, or a promise of it; the last used come last
  }

  /* {frame, values} or null while it is on its way; `frame` is where in the file the values lie. */
  at(frame) {
    const number = Math.floor(frame / this.framesPerChunk);
    const chunk = this.chunks.get(number);
    this.#fetch(number + 1);
    if (!(chunk instanceof this.kind)) {
      this.#fetch(number);
      return null;
    }
    this.chunks.delete(number);
    this.chunks.set(number, chunk);
    const start = (frame - number * this.framesPerChunk) * this.width;
    const values = chunk.subarray(start, start + this.width);
    const within = (values.byteOffset - chunk.byteOffset) / this.frameBytes;
    return { frame: number * this.framesPerChunk + within, values };
  }

  #fetch(number) {
    if (number * this.framesPerChunk >= this.nFrames || this.chunks.has(number)) return;
    const first = number * this.framesPerChunk * this.frameBytes;
    const end = Math.min(this.nFrames, (number + 1) * this.framesPerChunk) * this.frameBytes;
    const whole = this.framesPerChunk >= this.nFrames;
    const headers = whole ? {} : { Range: `bytes=${first}-${end - 1}` };
    const coming = get(this.url, { headers, signal: this.signal })
      .then((answer) => answer.arrayBuffer())
      .then((buffer) => {
        if (buffer.byteLength !== end - first) throw new Error("A part of the 3D hand came incomplete");
        this.chunks.set(number, new this.kind(buffer));
        this.#forget();
        this.changed();
      })
      .catch((error) => {
        this.chunks.delete(number); // asked for again at the next frame
        if (error.name !== "AbortError") console.warn(error.message);
      });
    this.chunks.set(number, coming);
  }

  #forget() {
    for (const number of this.chunks.keys()) {
      if (this.chunks.size <= KEPT_CHUNKS) break;
      this.chunks.delete(number);
    }
  }
}
