/* The one clock of a recording: the frame that the video shows, and everyone who must show the same.
 *
 * While the video plays its own frames drive the clock (requestVideoFrameCallback); nothing else guesses at
 * time. A busy page is called late, when the screen may already show a later frame than the call is about; so
 * the picture that the video holds at that instant is asked for its own time (VideoFrame), and only a browser
 * without it relies on the call's. A seek goes to the middle of a frame, since its very start may land a frame
 * early.
 */

const LATE_FRAME_MS = 150; // after a seek: a frame that is already on the screen is not announced again

export class Clock {
  constructor(video, fps, nFrames) {
    this.video = video;
    this.fps = fps;
    this.nFrames = nFrames;
    this.frame = -1; // none shown yet
    this.picture = null; // the video's picture of this frame, while listeners are called (VideoFrame or null)
    this.joint = null;
    this.loop = [null, null];
    this.listeners = new Set();
    this.watchers = new Set();
    this.target = null; // the frame being sought
    this.next = null; // where to seek when this seek has landed; only the latest counts
    this.abort = new AbortController();
    const options = { signal: this.abort.signal };
    for (const name of ["play", "pause", "ended", "ratechange"]) {
      video.addEventListener(name, () => this.changed(), options);
    }
    video.addEventListener("seeked", () => this.#landed(), options);
    video.addEventListener("ended", () => this.#comeRound(), options);
    document.addEventListener("visibilitychange", () => document.hidden && this.pause(), options);
    this.#listen();
  }

  get playing() {
    return !this.video.paused && !this.video.ended;
  }

  get rate() {
    return this.video.defaultPlaybackRate;
  }

  /* `listener(frame)` at every frame shown; returns what ends it. */
  subscribe(listener) {
    this.listeners.add(listener);
    if (this.frame >= 0) listener(this.frame);
    return () => this.listeners.delete(listener);
  }

  /* `watcher(clock)` when playing, speed, loop or the joint in focus change. */
  watch(watcher) {
    this.watchers.add(watcher);
    watcher(this);
    return () => this.watchers.delete(watcher);
  }

  changed() {
    for (const watcher of this.watchers) watcher(this);
  }

  async play() {
    if (this.frame >= this.nFrames - 1 || this.video.ended) this.seek(this.loop[0] ?? 0);
    try {
      await this.video.play();
    } catch (error) {
      if (error.name !== "AbortError") throw error; // a pause came first
    }
  }

  pause() {
    this.video.pause();
  }

  toggle() {
    return this.playing ? this.pause() : this.play();
  }

  /* Show a frame; of many calls in a row only the latest is worked. */
  seek(frame) {
    const wanted = Math.min(Math.max(Math.round(frame), 0), this.nFrames - 1);
    if (this.target !== null) {
      this.next = wanted;
      return;
    }
    // The frame announced last may be one that the video has just left.
    if (wanted === this.frame && wanted === this.#standing() && !this.playing) {
      this.#show(wanted);
      return;
    }
    this.target = wanted;
    this.video.currentTime = (wanted + 0.5) / this.fps;
  }

  #standing() {
    return Math.min(Math.floor(this.video.currentTime * this.fps + 1e-3), this.nFrames - 1);
  }

  /* Where the clock stands or is going to. */
  get heading() {
    return this.next ?? this.target ?? Math.max(this.frame, 0);
  }

  step(frames) {
    this.pause();
    this.seek(this.heading + frames);
  }

  setRate(rate) {
    this.video.defaultPlaybackRate = rate;
    this.video.playbackRate = rate;
    this.changed();
  }

  /* Play from one frame to another over and over; null and null for no loop, one null for the recording's end. */
  setLoop(start, end) {
    const none = start === null && end === null;
    const [from, to] = [start ?? 0, end ?? this.nFrames - 1];
    this.loop = none ? [null, null] : [Math.min(from, to), Math.max(from, to)];
    this.changed();
  }

  /* A loop from a frame to where the present one ends, or to the last frame. */
  loopFrom(frame) {
    const end = this.loop[1];
    this.setLoop(frame, end !== null && end > frame ? end : null);
  }

  /* A loop to a frame from where the present one starts, or from the first frame. */
  loopTo(frame) {
    const start = this.loop[0];
    this.setLoop(start !== null && start < frame ? start : 0, frame);
  }

  focus(joint) {
    if (joint === this.joint) return;
    this.joint = joint;
    this.changed();
    if (!this.playing && this.frame >= 0) this.#show(this.frame);
  }

  dispose() {
    this.abort.abort();
    this.video.cancelVideoFrameCallback(this.handle);
    this.listeners.clear();
    this.watchers.clear();
  }

  #listen() {
    this.handle = this.video.requestVideoFrameCallback((now, data) => {
      this.#listen();
      clearTimeout(this.late);
      this.picture = this.#hold();
      const timeS = this.picture ? this.picture.timestamp / 1e6 : data.mediaTime;
      const frame = Math.min(Math.floor(timeS * this.fps + 1e-3), this.nFrames - 1);
      try {
        this.#show(frame);
      } finally {
        this.picture?.close(); // a picture held back would starve the decoder
        this.picture = null;
      }
      const [start, end] = this.loop;
      if (end !== null && this.playing && this.target === null && frame >= end) this.seek(start);
    });
  }

  /* A loop that ends with the recording: the video stops there by itself. */
  #comeRound() {
    if (this.loop[0] === null || document.hidden) return;
    this.seek(this.loop[0]);
    this.video.play().catch((error) => {
      if (error.name !== "AbortError") throw error; // a pause came first
    });
  }

  #hold() {
    try {
      return new VideoFrame(this.video);
    } catch {
      return null; // not in this browser, or nothing decoded yet
    }
  }

  #landed() {
    const landed = this.#standing();
    this.target = null;
    if (this.next !== null) {
      const next = this.next;
      this.next = null;
      this.seek(next);
      return;
    }
    clearTimeout(this.late);
    this.late = setTimeout(() => {
      if (this.frame !== landed && !this.playing) this.#show(landed);
    }, LATE_FRAME_MS);
  }

  #show(frame) {
    this.frame = frame;
    for (const listener of this.listeners) listener(frame);
  }
}

/* Keeps another video beside a clock: the second visit of a comparison. Its own clock shows its own frames.
 *
 * `offsetS` is how far the follower is ahead of the leader, in s: it shows leader time + offset. Where it has
 * no such moment it waits at its first or last frame. A large lag is sought away, a small one is worked off by
 * a slightly other speed, so that both run smoothly. Returns {setOffset(seconds), wantedS(), end()}.
 */
export function follow(leader, follower, offsetS = 0) {
  const SEEK_S = 0.15;
  const NUDGE_S = 0.01;
  let offset = offsetS;
  let alive = true;
  let last = 0;
  const endS = () => (follower.nFrames - 0.5) / follower.fps;
  const isThere = (timeS) => timeS >= 0 && timeS < endS();
  const playedS = () => leader.video.currentTime + offset;
  const stoppedS = () => (leader.heading + 0.5) / leader.fps + offset;
  const seek = (timeS) => follower.seek(Math.floor(timeS * follower.fps + 1e-6));

  function run() {
    if (leader.playing && isThere(playedS())) follower.play();
    else follower.pause();
    follower.video.defaultPlaybackRate = leader.rate;
    if (!leader.playing) follower.video.playbackRate = leader.rate;
  }
  const stopWatching = leader.watch(run);
  const stopListening = leader.subscribe(() => {
    if (!leader.playing) seek(stoppedS());
  });
  function tick(now) {
    if (!alive) return;
    requestAnimationFrame(tick);
    if (!leader.playing || now - last < 100) return;
    last = now;
    const wanted = playedS();
    const error = follower.video.currentTime - wanted;
    if (!isThere(wanted)) {
      follower.pause();
      if (Math.abs(error) > SEEK_S) seek(wanted);
    } else if (!follower.playing && follower.target === null) {
      seek(wanted);
      follower.play();
    } else if (Math.abs(error) > SEEK_S) seek(wanted);
    else {
      const nudge = Math.abs(error) > NUDGE_S ? Math.min(Math.max(1 - 1.5 * error, 0.9), 1.1) : 1;
      follower.video.playbackRate = leader.rate * nudge;
    }
  }
  requestAnimationFrame(tick);
  return {
    setOffset(seconds) {
      offset = seconds;
      run();
      seek(leader.playing ? playedS() : stoppedS());
    },
    /* The follower's time that belongs to a frame of the leader; may lie before its start or after its end. */
    wantedS: (frame) => (frame + 0.5) / leader.fps + offset,
    end() {
      alive = false;
      stopWatching();
      stopListening();
    },
  };
}

/* The players of this page by their element's id, for what stands elsewhere on it (cursors, links). */
const players = new Map();
const waiting = new Map();

export function enter(id, player) {
  players.set(id, player);
  for (const resolve of waiting.get(id) ?? []) resolve(player);
  waiting.delete(id);
}

export function leave(id) {
  players.delete(id);
}

/* The player of that id, as soon as there is one. */
export function whenPlayer(id) {
  if (players.has(id)) return Promise.resolve(players.get(id));
  return new Promise((resolve) => waiting.set(id, [...(waiting.get(id) ?? []), resolve]));
}

export function getPlayer(id) {
  return players.get(id) ?? null;
}
