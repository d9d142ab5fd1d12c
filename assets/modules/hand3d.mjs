/* The moving hand in 3D: vertices as the pipeline left them, coloured by the value of the nearest joint. */

import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { FrameStream, SMALL, loadArray } from "./data.mjs";
import { t } from "./words.mjs";

/* Cividis (Nuñez 2018): even in lightness, the same for colour-blind readers. */
const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
const WITHIN = "#1b9e77";
const BETWEEN = "#ffc20a";
const BEYOND = "#8b0000";
const UNKNOWN = "#8b9198";
const SKIN = "#d9b8a4";
const PALM = [0, 5, 9, 13, 17]; // wrist and knuckles
const BACKGROUND = "#aab4bd"; // both ends of Cividis stand out from it
const GHOST = "#a3218e"; // of none of the scales
const GHOST_OPACITY = 0.5;
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;
const MOVING_RATIO = 0.5;
const BEHIND_UNITS = 1500; // about 3 mm at arm's length with this depth range

export const COLOURINGS = {
  jerk: t("Jerk"),
  acceleration: t("Acceleration"),
  z: t("Angle, SD from reference"),
  none: t("Plain"),
};

function ramp(colours, share) {
  const at = Math.min(Math.max(share, 0), 1) * (colours.length - 1);
  const low = Math.min(Math.floor(at), colours.length - 2);
  return new THREE.Color(colours[low]).lerp(new THREE.Color(colours[low + 1]), at - low);
}

/* 256 colours (linear RGB) for the stored values of a colouring; 255 is missing. */
function makeTable(colouring, range) {
  const table = new Float32Array(256 * 3);
  for (let value = 0; value < 255; value += 1) {
    let colour;
    if (colouring === "z") {
      const z = Math.abs(range.low + (value / 254) * (range.high - range.low));
      colour = new THREE.Color(z < 1 ? WITHIN : z < 3 ? BETWEEN : BEYOND);
    } else colour = ramp(CIVIDIS, value / 254);
    colour.toArray(table, value * 3);
  }
  new THREE.Color(UNKNOWN).toArray(table, 255 * 3);
  return table;
}

/* Grey diagonal stripes where a value is missing: grey alone could be taken for a colour of the scale. */
function addStripes(material) {
  material.onBeforeCompile = (shader) => {
    shader.vertexShader = shader.vertexShader
      .replace("#include <common>", "#include <common>\nattribute float missing;\nvarying float vMissing;")
      .replace("#include <begin_vertex>", "#include <begin_vertex>\nvMissing = missing;");
    shader.fragmentShader = shader.fragmentShader
      .replace("#include <common>", "#include <common>\nvarying float vMissing;")
      .replace(
        "#include <color_fragment>",
        "#include <color_fragment>\nif (vMissing > 0.5 && mod(gl_FragCoord.x + gl_FragCoord.y, 10.0) < 4.0) diffuseColor.rgb *= 0.45;",
      );
  };
}

/* Where a palm lies and how it is turned, from joints (21 x 3): a matrix, or null where it was not measured. */
function palmFrame(joints) {
  const point = (joint) => new THREE.Vector3().fromArray(joints, joint * 3);
  const middle = new THREE.Vector3();
  for (const joint of PALM) middle.addScaledVector(point(joint), 1 / PALM.length);
  if (!Number.isFinite(middle.x + middle.y + middle.z)) return null;
  const [wrist, index, pinky] = [PALM[0], PALM[1], PALM.at(-1)].map(point);
  const along = index.clone().add(pinky).multiplyScalar(0.5).sub(wrist).normalize();
  const out = along.clone().cross(pinky.sub(index)).normalize();
  return new THREE.Matrix4().makeBasis(along.clone().cross(out), along, out).setPosition(middle);
}

/* Whether WebGL is drawn by the processor: then smooth edges and fine pixels cost more than the hand itself. */
let software = null;
function isSoftware() {
  if (software === null) {
    const context = document.createElement("canvas").getContext("webgl2");
    const about = context?.getExtension("WEBGL_debug_renderer_info");
    software = Boolean(about) && SOFTWARE.test(context.getParameter(about.UNMASKED_RENDERER_WEBGL));
    context?.getExtension("WEBGL_lose_context")?.loseContext(); // a page has only a few of them
  }
  return software;
}

export class Hand3d {
  /* `host` is an empty element; `changed` is called when data that were missing have come. */
  constructor(host, index, signal, changed) {
    this.host = host;
    this.index = index;
    this.signal = signal;
    this.changed = changed;
    this.colouring = "jerk";
    this.hands = [];
    this.frame = -1;
    this.joint = null;
    this.camera = null;
    this.follows = true;
    this.palm = null; // middle of the first hand's palm in the frame shown, in three's world
    this.ghost = null;
  }

  async start() {
    this.renderer = new THREE.WebGLRenderer({ antialias: !isSoftware(), powerPreference: "low-power" });
    this.renderer.setPixelRatio(isSoftware() ? 1 : Math.min(devicePixelRatio || 1, 2));
    this.canvas = this.renderer.domElement;
    this.canvas.className = "hand3d-canvas";
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", t("Moving hand in 3D; drag to turn it, scroll to come nearer"));
    this.host.append(this.canvas);
    this.canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.host.dispatchEvent(new CustomEvent("contextlost"));
    });

    this.scene = new THREE.Scene();
    this.scene.background = new THREE.Color(BACKGROUND);
    this.scene.add(new THREE.HemisphereLight(0xffffff, 0x4a4f57, 1.7));
    const key = new THREE.DirectionalLight(0xffffff, 1.6);
    this.view = new THREE.PerspectiveCamera(32, 1, 10, 6000);
    this.view.add(key);
    key.position.set(0.3, 0.6, 1);
    this.scene.add(this.view);
    // OpenCV's y points down and z away from the viewer; three's y up and z towards him.
    this.world = new THREE.Group();
    this.world.rotation.x = Math.PI;
    this.scene.add(this.world);
    this.controls = new OrbitControls(this.view, this.canvas);
    this.controls.addEventListener("change", () => !this.camera && this.render());
    this.controls.addEventListener("start", () => this.camera && this.#leaveCamera());

    const { index, signal } = this;
    const faces = index.sides.map((side) => loadArray(index, `faces_${side}.u32`, signal));
    const [vertexJoint, ...facesBySide] = await Promise.all([loadArray(index, "vertex_joint.u8", signal), ...faces]);
    index.sides.forEach((side, i) => this.#addHand(side, vertexJoint, facesBySide[i]));
    this.observer = new ResizeObserver(() => this.#fit());
    this.observer.observe(this.host);
    this.reset();
  }

  #addHand(side, vertexJoint, faces) {
    const { index, signal } = this;
    const geometry = new THREE.BufferGeometry();
    const attribute = (width) => {
      const made = new THREE.BufferAttribute(new Float32Array(index.n_vertices * width), width);
      made.setUsage(THREE.DynamicDrawUsage);
      return made;
    };
    geometry.setIndex(new THREE.BufferAttribute(faces, 1));
    geometry.setAttribute("position", attribute(3));
    geometry.setAttribute("color", attribute(3));
    geometry.setAttribute("missing", attribute(1));
    const material = new THREE.MeshStandardMaterial({ vertexColors: true, roughness: 0.75, metalness: 0 });
    addStripes(material);
    const mesh = new THREE.Mesh(geometry, material);
    mesh.frustumCulled = false; // its bounds change with every frame
    // Stored values are whole numbers; the mesh's place and size turn them into mm.
    mesh.position.fromArray(index.vertices.offset_mm);
    mesh.scale.setScalar(index.vertices.scale_mm);
    const marker = new THREE.Mesh(
      new THREE.SphereGeometry(4, 16, 12),
      new THREE.MeshBasicMaterial({ color: "#ffffff", depthTest: false, transparent: true, opacity: 0.85 }),
    );
    marker.visible = false;
    marker.renderOrder = 2;
    this.world.add(mesh, marker);
    const stream = new FrameStream(index, `vertices_${side}.i16`, signal, this.changed);
    const joints = new FrameStream(index, `joints_${side}.f32`, signal, this.changed, SMALL);
    const tables = Object.fromEntries(
      Object.entries(index.ranges[side]).map(([name, range]) => [name, makeTable(name, range)]),
    );
    this.hands.push({ side, stream, joints, values: {}, tables, mesh, marker, vertexJoint });
  }

  /* Show a frame; answers false while its data are on their way, and leaves what was shown. */
  draw(frame, joint) {
    this.joint = joint;
    const found = this.hands.map((hand) => this.#gather(hand, frame));
    if (found.includes(null)) return false;
    this.hands.forEach((hand, i) => {
      const { vertices, joints, values } = found[i];
      this.#pose(hand, vertices.values);
      hand.points = joints.values;
      if (i === 0) this.#follow(hand);
      this.#paint(hand, values?.values ?? null);
      this.#mark(hand);
    });
    const shown = new Set(found.flatMap((parts) => Object.values(parts).map((part) => part?.frame ?? frame)));
    this.frame = shown.size === 1 ? frame : -1;
    const complete = this.#drawGhost(frame);
    this.render();
    this.host.dataset.frame = String(this.frame);
    return complete;
  }

  /* Ask for what a frame will need. */
  fetch(frame) {
    for (const hand of this.hands) this.#gather(hand, frame);
  }

  /* Everything that a hand needs for a frame; null while a part of it is on its way. */
  #gather(hand, frame) {
    const vertices = hand.stream.at(frame);
    const joints = hand.joints.at(frame);
    const values = this.colouring === "none" ? null : this.#valueStream(hand).at(frame);
    if (!vertices || !joints || (this.colouring !== "none" && !values)) return null;
    return { vertices, joints, values };
  }

  /* What a seek should not have to wait for: everything but the vertices. */
  get smallStreams() {
    return this.hands.flatMap((hand) => [hand.joints, ...Object.values(hand.values)]);
  }

  #valueStream(hand) {
    const { colouring, index, signal, changed } = this;
    hand.values[colouring] ??= new FrameStream(index, `${colouring}_${hand.side}.u8`, signal, changed, SMALL);
    return hand.values[colouring];
  }

  #pose(hand, values) {
    hand.measured = values[0] !== this.index.missing.i16;
    hand.mesh.visible = hand.measured;
    if (!hand.measured) return;
    const { position } = hand.mesh.geometry.attributes;
    position.array.set(values);
    position.needsUpdate = true;
    hand.mesh.geometry.computeVertexNormals();
  }

  #paint(hand, values) {
    const { color, missing } = hand.mesh.geometry.attributes;
    const byJoint = values && this.#valuesByJoint(values);
    const table = hand.tables[this.colouring];
    const plain = new THREE.Color(SKIN);
    for (let vertex = 0; vertex < hand.vertexJoint.length; vertex += 1) {
      const value = byJoint ? byJoint[hand.vertexJoint[vertex]] : -1;
      missing.array[vertex] = value === this.index.missing.u8 ? 1 : 0;
      if (value < 0) plain.toArray(color.array, vertex * 3);
      else for (let k = 0; k < 3; k += 1) color.array[vertex * 3 + k] = table[value * 3 + k];
    }
    color.needsUpdate = true;
    missing.needsUpdate = true;
  }

  /* The stored value of each of the 21 joints, from those of a frame.
   * An angle colours its joint and what lies beyond it up to the next; of two angles the farther one counts. */
  #valuesByJoint(values) {
    const { joints, angle_joint: jointOf, missing } = this.index;
    if (this.colouring !== "z") return values;
    const z = values;
    const byJoint = new Uint8Array(joints.length).fill(missing.u8);
    jointOf.forEach((joint, angle) => {
      const farther = byJoint[joint] === missing.u8 || Math.abs(z[angle] - 127) > Math.abs(byJoint[joint] - 127);
      if (z[angle] !== missing.u8 && farther) byJoint[joint] = z[angle];
    });
    joints.forEach((name, joint) => {
      if (name.endsWith("_tip")) byJoint[joint] = byJoint[joint - 1];
    });
    return byJoint;
  }

  #mark(hand) {
    const joint = this.index.joints.indexOf(this.joint);
    hand.marker.visible = joint >= 0 && hand.measured;
    if (hand.marker.visible) hand.marker.position.fromArray(hand.points, joint * 3);
  }

  /* From the next drawing on a translucent hand (ReferenceGhost, VisitGhost) lies on the palm; null: none. */
  setGhost(ghost) {
    for (const hand of this.hands) this.#removeGhost(hand);
    this.ghost = ghost;
  }

  #removeGhost(hand) {
    if (!hand.ghost) return;
    this.world.remove(hand.ghost);
    hand.ghost.children[0].geometry.dispose();
    for (const { material } of hand.ghost.children) material.dispose();
    hand.ghost = null;
    hand.laid = null;
  }

  #makeGhost(hand, faces, n) {
    const geometry = new THREE.BufferGeometry();
    geometry.setIndex(new THREE.BufferAttribute(faces, 1));
    geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(n), 3).setUsage(THREE.DynamicDrawUsage));
    // First its depth alone, then its near side: otherwise its own fingers would shine through each other.
    // A little behind where it is: on the common palm the hand's own colours have to stay what they mean.
    const behind = { transparent: true, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: BEHIND_UNITS };
    const depth = new THREE.Mesh(geometry, new THREE.MeshBasicMaterial({ colorWrite: false, ...behind }));
    const surface = new THREE.Mesh(
      geometry, new THREE.MeshStandardMaterial({ color: GHOST, opacity: GHOST_OPACITY, roughness: 0.9, ...behind }),
    );
    [depth.renderOrder, surface.renderOrder] = [1, 2];
    depth.frustumCulled = surface.frustumCulled = false;
    hand.ghost = new THREE.Group();
    hand.ghost.matrixAutoUpdate = false;
    hand.ghost.add(depth, surface);
    this.world.add(hand.ghost);
  }

  /* Answers false while the ghost's data are on their way; `host` says which of its frames is shown. */
  #drawGhost(frame) {
    const { ghost } = this;
    let late = false;
    let shown = "";
    for (const hand of this.hands) {
      const part = ghost && hand.measured ? ghost.at(hand.side, frame) : null;
      late ||= part === "late";
      const pose = part && part !== "late" ? this.#laying(part.joints, hand.points) : null;
      if (hand.ghost) hand.ghost.visible = Boolean(pose);
      if (!pose) continue;
      if (!hand.ghost) this.#makeGhost(hand, ghost.faces(hand.side), part.positions.length);
      const { geometry } = hand.ghost.children[0];
      const { position } = geometry.attributes;
      if (hand.laid !== part.positions) { // the same ones over and over need no normals anew
        position.array.set(part.positions);
        position.needsUpdate = true;
        geometry.computeVertexNormals();
        hand.laid = part.positions;
      }
      const { scale, offset } = ghost;
      hand.ghost.matrix.copy(pose)
        .multiply(new THREE.Matrix4().makeTranslation(...offset))
        .multiply(new THREE.Matrix4().makeScale(scale, scale, scale));
      hand.ghost.matrixWorldNeedsUpdate = true;
      hand.ghost.visible = true;
      shown = String(part.frame ?? "all");
    }
    this.host.dataset.ghost = shown;
    return !late;
  }

  /* What lays one hand's palm on another's, as a matrix; null where a palm was not measured. */
  #laying(joints, onto) {
    const [from, to] = [palmFrame(joints), palmFrame(onto)];
    return from && to ? to.multiply(from.invert()) : null;
  }

  /* What the hand is coloured by from the next drawing on. */
  setColouring(name) {
    this.colouring = name;
  }

  render() {
    if (this.renderer && !this.renderer.getContext().isContextLost()) this.renderer.render(this.scene, this.view);
  }

  /* Carry eye and target along with the palm of the first hand, so that the fingers stay large. */
  #follow(hand) {
    const frame = palmFrame(hand.points);
    if (!frame) return;
    this.palm = new THREE.Vector3().setFromMatrixPosition(frame).applyMatrix4(this.world.matrixWorld);
    if (this.unset) this.reset();
    if (!this.follows || this.camera) return;
    const shift = this.palm.clone().sub(this.anchor ?? this.palm);
    this.anchor = this.palm;
    this.view.position.add(shift);
    this.controls.target.add(shift);
    this.view.updateMatrixWorld();
  }

  /* What there is to see, in three's world: the whole movement, or the hand about its palm while following. */
  #bounds() {
    const { bounds, vertices: { offset_mm: middle, scale_mm: scale } } = this.index;
    const about = this.follows && this.palm ? bounds?.about_palm_mm[this.hands[0].side] : null;
    const reach = 32766 * scale; // of an older run only this is known
    const world = bounds?.world_mm ?? [middle.map((at) => at - reach), middle.map((at) => at + reach)];
    const [low, high] = (about ?? world).map((corner) => new THREE.Vector3().fromArray(corner));
    const box = new THREE.Box3(low, high).applyMatrix4(this.world.matrixWorld);
    return about ? box.translate(this.palm) : box;
  }

  /* Look from where the reference camera stands; `follows` keeps the hand in the middle. */
  reset(follows = this.follows) {
    this.#leaveCamera();
    this.follows = follows;
    this.world.updateMatrixWorld(true);
    this.anchor = this.palm;
    this.unset = !this.palm; // placed anew once a palm is known
    const box = this.#bounds();
    const sphere = box.getBoundingSphere(new THREE.Sphere());
    const distance = (sphere.radius * 0.92) / Math.sin((this.view.fov * Math.PI) / 360);
    const toViewer = sphere.center.clone().negate().normalize(); // the reference camera is the origin
    if (toViewer.lengthSq() === 0) toViewer.set(0, 0, 1);
    this.view.position.copy(sphere.center).addScaledVector(toViewer, distance);
    this.view.up.set(0, 1, 0);
    this.controls.target.copy(sphere.center);
    this.controls.minDistance = 30;
    this.controls.maxDistance = distance * 4;
    this.controls.update();
    this.#fit();
  }

  /* Look through a camera of the rig, with its own lens (without its distortion). */
  lookThrough(name) {
    const camera = this.index.cameras.find((entry) => entry.name === name);
    if (!camera || !camera.K) return;
    this.camera = camera;
    const [r0, r1, r2] = camera.R;
    const place = new THREE.Matrix4().set(
      ...r0, camera.t_mm[0], ...r1, camera.t_mm[1], ...r2, camera.t_mm[2], 0, 0, 0, 1,
    ); // world to camera, OpenCV
    const flip = new THREE.Matrix4().makeScale(1, -1, -1);
    const worldToView = flip.clone().multiply(place).multiply(flip);
    this.view.matrixAutoUpdate = false;
    this.view.matrix.copy(worldToView.invert());
    this.view.matrix.decompose(this.view.position, this.view.quaternion, this.view.scale);
    this.view.updateMatrixWorld(true);
    this.#fit();
  }

  #leaveCamera() {
    this.camera = null;
    this.view.matrixAutoUpdate = true;
    this.view.updateProjectionMatrix();
    this.host.dispatchEvent(new CustomEvent("freeview"));
  }

  /* Drawn by the processor, a hand that moves is drawn in fewer pixels, so that it and the video run smoothly;
   * at rest in all. */
  setMoving(moving) {
    if (!this.renderer || !isSoftware() || moving === this.moving) return;
    this.moving = moving;
    this.renderer.setPixelRatio(moving ? MOVING_RATIO : 1);
    this.#fit();
  }

  #fit() {
    const width = this.host.clientWidth;
    const height = this.host.clientHeight;
    if (!width || !height) return;
    this.renderer.setSize(width, height, true); // whole pixels: a stretched picture is slow to lay down
    this.view.aspect = width / height;
    if (this.camera) this.#projectLikeCamera(width / height);
    else this.view.updateProjectionMatrix();
    this.render();
  }

  #projectLikeCamera(aspect) {
    const { K, size_px: [width, height] } = this.camera;
    const [near, far] = [this.view.near, this.view.far];
    // The picture spans -0.5 to width - 0.5: the centre of the top-left pixel is (0, 0).
    let left = ((-0.5 - K[0][2]) / K[0][0]) * near;
    let right = ((width - 0.5 - K[0][2]) / K[0][0]) * near;
    let top = ((K[1][2] + 0.5) / K[1][1]) * near;
    let bottom = (-(height - 0.5 - K[1][2]) / K[1][1]) * near;
    const wider = aspect / ((right - left) / (top - bottom));
    const grow = (low, high, factor) => {
      const [middle, half] = [(low + high) / 2, ((high - low) / 2) * factor];
      return [middle - half, middle + half];
    };
    if (wider > 1) [left, right] = grow(left, right, wider);
    else [bottom, top] = grow(bottom, top, 1 / wider);
    this.view.projectionMatrix.makePerspective(left, right, top, bottom, near, far, this.view.coordinateSystem);
    this.view.projectionMatrixInverse.copy(this.view.projectionMatrix).invert();
  }

  dispose() {
    this.observer?.disconnect();
    this.controls?.dispose();
    for (const hand of this.hands) this.#removeGhost(hand);
    for (const { mesh, marker } of this.hands) {
      for (const part of [mesh, marker]) {
        part.geometry.dispose();
        part.material.dispose();
      }
    }
    this.hands = [];
    this.renderer?.dispose();
    this.renderer?.forceContextLoss();
    this.canvas?.remove();
    this.renderer = null;
  }
}
