/* Reads what pipeline/export/web.py wrote: index.json and raw little-endian arrays. */

const KINDS = {
  uint8: Uint8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
};

/* Below `whole` bytes a file is fetched whole; above it in ranges of `chunk`, so that a long recording starts at
 * once. What was used last is kept up to `kept` bytes. */
const LARGE = { whole: 20e6, chunk: 0.6e6, kept: 24e6 };
export const SMALL = { whole: 128e3, chunk: 64e3, kept: 2e6 };
const MOST_FILLED = 8e6; // a file of more bytes stays in pieces
const AHEAD = 0.25; // this far into a piece the next is fetched

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

/* An array whose first axis is time, given frame by frame: whole when small, in ranges when large.
 * `changed()` is called when a part that was asked for has come, `changed(error)` when it could not. */
export class FrameStream {
  constructor(index, name, signal, changed, sizes = LARGE) {
    const file = index.files[name];
    if (!file) throw new Error(`The recording has no ${name}`);
    this.kind = KINDS[file.dtype];
    this.nFrames = file.shape[0];
    this.width = file.shape.slice(1).reduce((a, b) => a * b, 1);
    this.frameBytes = this.width * this.kind.BYTES_PER_ELEMENT;
    const perChunk = Math.max(1, Math.floor(sizes.chunk / this.frameBytes));
    this.framesPerChunk = file.bytes <= sizes.whole ? this.nFrames : perChunk;
    this.chunks = new Chunks(`${index.base}/${name}`, file.bytes, this.kind, signal, changed, sizes.kept);
  }

  /* {frame, values} or null while it is on its way; `frame` is where in the file the values lie. */
  at(frame) {
    const number = Math.floor(frame / this.framesPerChunk);
    const chunk = this.chunks.get(number, ...this.#range(number));
    if (!chunk) return null;
    const isLate = frame - number * this.framesPerChunk > this.framesPerChunk * AHEAD;
    if (isLate && (number + 1) * this.framesPerChunk < this.nFrames) this.chunks.get(number + 1, ...this.#range(number + 1));
    const start = (frame - number * this.framesPerChunk) * this.width;
    const values = chunk.subarray(start, start + this.width);
    const within = (values.byteOffset - chunk.byteOffset) / this.frameBytes;
    return { frame: number * this.framesPerChunk + within, values };
  }

  /* Fetch the rest while nothing else is waited for: then any frame is there at once. */
  async fill() {
    if (this.framesPerChunk >= this.nFrames || this.nFrames * this.frameBytes > MOST_FILLED) return;
    const whole = await this.chunks.fetchWhole();
    this.framesPerChunk = this.nFrames;
    this.chunks.keepOnly(whole);
  }

  #range(number) {
    const end = Math.min(this.nFrames, (number + 1) * this.framesPerChunk);
    return [number * this.framesPerChunk * this.frameBytes, end * this.frameBytes];
  }
}

/* A list of another length in every frame: `starts` names the first entry of each frame (T + 1,). */
export class RaggedStream {
  constructor(index, name, startsName, signal, changed) {
    const file = index.files[name];
    if (!file) throw new Error(`The recording has no ${name}`);
    this.kind = KINDS[file.dtype];
    this.width = file.shape.slice(1).reduce((a, b) => a * b, 1);
    this.entryBytes = this.width * this.kind.BYTES_PER_ELEMENT;
    const frames = index.files[startsName].shape[0] - 1;
    this.framesPerChunk = Math.max(1, Math.floor((SMALL.whole * frames) / Math.max(file.bytes, 1)));
    this.nFrames = frames;
    this.chunks = new Chunks(`${index.base}/${name}`, file.bytes, this.kind, signal, changed, SMALL.kept);
    loadArray(index, startsName, signal).then((starts) => {
      this.starts = starts;
      changed();
    }).catch((error) => error.name !== "AbortError" && changed(error));
  }

  /* {frame, values} or null while it is on its way. */
  at(frame) {
    if (!this.starts) return null;
    const number = Math.floor(frame / this.framesPerChunk);
    const chunk = this.#chunk(number);
    if (!chunk) return null;
    const isLate = frame - number * this.framesPerChunk > this.framesPerChunk * AHEAD;
    if (isLate && (number + 1) * this.framesPerChunk < this.nFrames) this.#chunk(number + 1);
    const base = this.starts[number * this.framesPerChunk];
    const [first, end] = [this.starts[frame], this.starts[frame + 1]];
    return { frame, values: chunk.subarray((first - base) * this.width, (end - base) * this.width) };
  }

  #chunk(number) {
    const last = Math.min((number + 1) * this.framesPerChunk, this.nFrames);
    const [first, end] = [this.starts[number * this.framesPerChunk], this.starts[last]];
    return this.chunks.get(number, first * this.entryBytes, end * this.entryBytes);
  }
}

/* Pieces of one file, fetched when they are first asked for. */
class Chunks {
  constructor(url, bytes, kind, signal, changed, keptBytes) {
    Object.assign(this, { url, bytes, kind, signal, changed, keptBytes });
    this.pieces = new Map(); // number -> array, or a promise of it; the last used come last
    this.held = 0;
  }

  /* The piece of that number, from byte `first` to before `end`; null while it is on its way. */
  get(number, first, end) {
    const piece = this.pieces.get(number);
    if (piece instanceof this.kind) {
      this.pieces.delete(number);
      this.pieces.set(number, piece);
      return piece;
    }
    if (!piece) this.pieces.set(number, this.#fetch(number, first, end));
    return null;
  }

  async #fetch(number, first, end) {
    try {
      const whole = first === 0 && end === this.bytes;
      const headers = whole ? {} : { Range: `bytes=${first}-${end - 1}` };
      const buffer = end > first
        ? await (await get(this.url, { headers, signal: this.signal })).arrayBuffer()
        : await new ArrayBuffer(0); // later in any case: the caller keeps this promise first
      if (buffer.byteLength !== end - first) throw new Error(`A part of ${this.url} came incomplete`);
      if (this.#isReplaced(number)) return;
      this.pieces.set(number, new this.kind(buffer));
      this.held += buffer.byteLength;
      this.#forget();
    } catch (error) {
      if (this.#isReplaced(number)) return;
      this.pieces.delete(number); // asked for again at the next frame
      if (error.name !== "AbortError") this.changed(error);
      return;
    }
    this.changed();
  }

  /* Whether the whole file has come while a piece of it was on its way. */
  #isReplaced(number) {
    return !this.pieces.has(number) || this.pieces.get(number) instanceof this.kind;
  }

  async fetchWhole() {
    return new this.kind(await (await get(this.url, { signal: this.signal })).arrayBuffer());
  }

  keepOnly(whole) {
    this.pieces = new Map([[0, whole]]);
    this.held = whole.byteLength;
    this.changed();
  }

  #forget() {
    for (const [number, piece] of this.pieces) {
      if (this.held <= this.keptBytes || this.pieces.size <= 2) break;
      if (!(piece instanceof this.kind)) continue;
      this.pieces.delete(number);
      this.held -= piece.byteLength;
    }
  }
}
