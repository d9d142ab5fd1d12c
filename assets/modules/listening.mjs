/* Two sounds heard together, set against each other to the sample. */

/* Between the decision and the sound: what a busy machine needs to have both ready. */
const LEAD_S = 0.1;
const PAUSE_S = 0.25; // between two rounds of a loop
const AHEAD_S = 0.2;
const LOUD = 0.7;
const MOST_GAIN = 30;

/* When and from where two buffers start, so that at every moment the reference's time is the camera's plus
 * `offset`. A sound that begins after `from` starts later, not earlier.
 *   from, length : on the reference's clock;  when : on the audio clock
 * Gives {when, at, length} for both; null for one that is silent all the while. */
export function planStart({ from, length, offset, when, ends }) {
  return [from, from - offset].map((at, which) => {
    const late = Math.max(0, -at);
    const start = Math.max(0, at);
    const left = Math.min(length - late, ends[which] - start);
    return left > 0 ? { when: when + late, at: start, length: left } : null;
  });
}

export class Listening {
  /* `changed()` is called when it starts and stops. */
  constructor(rate, changed) {
    this.rate = rate;
    this.changed = changed;
    this.context = null;
    this.sources = [];
    this.playing = false;
    this.split = true;
  }

  /* Play from a time of the reference's clock; `length` s long, again and again if `loop`. */
  async play(buffers, peaks, { from, length, offset, loop }) {
    this.stop();
    this.playing = true;
    const round = (this.round = {});
    // The files' own rate: nothing is resampled before the two are added up.
    this.context ??= new AudioContext({ sampleRate: this.rate, latencyHint: "interactive" });
    await this.context.resume();
    if (this.round !== round) return;
    this.buffers = buffers;
    this.gains = peaks.map((peak) => Math.min(MOST_GAIN, LOUD / Math.max(peak, 1e-6)));
    this.plan = { from, length, offset, loop };
    this.begin = this.context.currentTime + LEAD_S;
    this.#start(this.begin);
    this.changed();
  }

  #start(when) {
    const { from, length, offset, loop } = this.plan;
    this.begin = when;
    const ends = this.buffers.map((buffer) => buffer.duration);
    planStart({ from, length, offset, when, ends }).forEach((plan, which) => {
      if (plan) this.#startOne(which, plan);
    });
    const end = when + length;
    const next = () => (loop ? this.#start(Math.max(end + PAUSE_S, this.context.currentTime + 0.02)) : this.stop());
    const wait = end + (loop ? PAUSE_S - AHEAD_S : 0) - this.context.currentTime;
    this.timer = setTimeout(next, Math.max(0, 1000 * wait));
  }

  #startOne(which, { when, at, length }) {
    const source = this.context.createBufferSource();
    const gain = this.context.createGain();
    const side = this.context.createStereoPanner();
    source.buffer = this.buffers[which];
    gain.gain.value = this.split ? this.gains[which] : this.gains[which] / 2;
    side.pan.value = this.split ? [-1, 1][which] : 0;
    source.connect(gain).connect(side).connect(this.context.destination);
    source.onended = () => { this.sources = this.sources.filter((one) => one !== source); };
    source.start(when, at, length);
    this.sources.push(source);
  }

  /* The time of the reference's clock that is heard now; null in silence. */
  get time() {
    if (!this.playing || !this.plan) return null;
    const passed = this.context.currentTime - this.begin;
    return passed < 0 || passed > this.plan.length ? null : this.plan.from + passed;
  }

  stop() {
    clearTimeout(this.timer);
    this.round = null;
    for (const source of this.sources) {
      source.onended = null;
      source.stop();
    }
    this.sources = [];
    const was = this.playing;
    this.playing = false;
    this.plan = null;
    if (was) this.changed();
  }

  dispose() {
    this.stop();
    this.context?.close();
    this.context = null;
  }
}
