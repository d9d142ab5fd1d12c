/* What a ghost of the 3D hand is made of: the reference's mean posture, or the other visit of a comparison. */

import { FrameStream, SMALL, loadArray } from "./data.mjs";

/* This person's hand in the reference's mean posture: the same in every frame.
 *
 * A ghost has `at(side, frame)`: {positions, joints} of that frame, "late" while they are on their way, or null
 * where there is none; `faces(side)`; `scale` and `offset` that turn positions into mm.
 */
export class ReferenceGhost {
  constructor(index, signal) {
    this.index = index;
    this.signal = signal;
    this.offset = [0, 0, 0];
    this.scale = 1;
    this.hands = new Map();
  }

  /* Why there is no such posture of any hand: null where there is one. */
  static missing(index) {
    const said = Object.values(index.reference_posture ?? {});
    if (!said.length) return "run";
    return said.every((one) => one.missing) ? said[0].missing : null;
  }

  async start() {
    const { index, signal } = this;
    for (const side of index.sides) {
      if (index.reference_posture[side].missing) continue;
      const [positions, joints, faces] = await Promise.all(
        ["reference_vertices_%.f32", "reference_joints_%.f32", "faces_%.u32"].map((name) => loadArray(index, name.replace("%", side), signal)),
      );
      this.hands.set(side, { positions, joints, faces });
    }
  }

  faces(side) {
    return this.hands.get(side)?.faces ?? null;
  }

  at(side) {
    return this.hands.get(side) ?? null;
  }
}

/* The hand of another player. `frameOf(frame)` is its frame that belongs to one of ours; null where it has none. */
export class VisitGhost {
  constructor(index, frameOf, signal, changed) {
    Object.assign(this, { index, frameOf, signal, changed });
    this.offset = index.vertices.offset_mm;
    this.scale = index.vertices.scale_mm;
    this.hands = new Map();
  }

  async start() {
    const { index, signal, changed } = this;
    for (const side of index.sides) {
      this.hands.set(side, {
        faces: await loadArray(index, `faces_${side}.u32`, signal),
        vertices: new FrameStream(index, `vertices_${side}.i16`, signal, changed),
        joints: new FrameStream(index, `joints_${side}.f32`, signal, changed, SMALL),
      });
    }
  }

  faces(side) {
    return this.hands.get(side)?.faces ?? null;
  }

  at(side, frame) {
    const hand = this.hands.get(side);
    const other = this.frameOf(frame);
    if (!hand || other === null) return null;
    const [vertices, joints] = [hand.vertices.at(other), hand.joints.at(other)];
    if (!vertices || !joints) return "late";
    if (vertices.values[0] === this.index.missing.i16) return null;
    return { positions: vertices.values, joints: joints.values, frame: vertices.frame };
  }
}
