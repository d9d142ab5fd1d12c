/* The hands of one picture in space: surface, joints, bones and the error of each joint; drag to turn. */

import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { t } from "./words.mjs";

const COLOURS = { right: "#46a0d6", left: "#eb9646" };
const BONES = Array.from({ length: 20 }, (_, k) => [k % 4 === 0 ? 0 : k, k + 1]);
const TURN_RAD = Math.PI / 12;

export class Photo3d {
  constructor(host) {
    this.host = host;
    this.layers = {};
    this.renderer = new THREE.WebGLRenderer({ antialias: true, powerPreference: "low-power" });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio || 1, 2));
    this.canvas = this.renderer.domElement;
    this.canvas.className = "photo3d-canvas";
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", t("Hand in space; drag to turn it, scroll to come nearer"));
    this.canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      if (this.renderer) host.dispatchEvent(new CustomEvent("contextlost")); // not by our own dispose
    });
    host.append(this.canvas);
    this.scene = new THREE.Scene();
    this.scene.background = new THREE.Color("#e9edf1");
    this.scene.add(new THREE.HemisphereLight(0xffffff, 0x6b7178, 1.8));
    this.view = new THREE.PerspectiveCamera(32, 1, 1, 5000);
    const lamp = new THREE.DirectionalLight(0xffffff, 1.5);
    lamp.position.set(0.3, 0.6, 1);
    this.view.add(lamp);
    this.scene.add(this.view);
    this.world = new THREE.Group(); // OpenCV's y points down and z away; three's up and towards the viewer
    this.world.rotation.x = Math.PI;
    this.scene.add(this.world);
    this.controls = new OrbitControls(this.view, this.canvas);
    this.controls.addEventListener("change", () => this.render());
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(host);
  }

  /* `hands`: [{ side, joints (21, 3), sigma (21, 3), wrist (3), vertices, faces }], the first in the middle. */
  show(hands) {
    this.clear();
    const first = hands[0].wrist;
    this.camera = new THREE.Vector3(...first).negate(); // where it stood, seen from the first wrist
    for (const hand of hands) {
      const group = new THREE.Group();
      group.position.set(...hand.wrist.map((value, axis) => value - first[axis]));
      group.add(this.makeSurface(hand), this.makeBones(hand), this.makeJoints(hand), this.makeErrors(hand));
      this.world.add(group);
    }
    this.setLayers(this.layers);
    this.reset();
  }

  makeSurface({ side, vertices, faces }) {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(vertices, 3));
    geometry.setIndex(new THREE.BufferAttribute(faces, 1));
    geometry.computeVertexNormals();
    const material = new THREE.MeshStandardMaterial({
      color: COLOURS[side], roughness: 0.8, transparent: true, opacity: 0.55, depthWrite: false,
    });
    const mesh = new THREE.Mesh(geometry, material);
    mesh.userData.layer = "mesh";
    return mesh;
  }

  makeBones({ joints }) {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.Float32BufferAttribute(BONES.flat().flatMap((k) => joints[k]), 3));
    const lines = new THREE.LineSegments(geometry, new THREE.LineBasicMaterial({ color: "#1c2733" }));
    lines.userData.layer = "bones";
    return lines;
  }

  makeJoints({ joints }) {
    const group = new THREE.Group();
    const sphere = new THREE.SphereGeometry(2.4, 14, 10);
    const material = new THREE.MeshStandardMaterial({ color: "#10202c", roughness: 0.6 });
    for (const joint of joints) {
      const dot = new THREE.Mesh(sphere, material);
      dot.position.set(...joint);
      group.add(dot);
    }
    group.userData.layer = "points";
    return group;
  }

  makeErrors({ joints, sigma }) {
    const group = new THREE.Group();
    const sphere = new THREE.SphereGeometry(1, 20, 14);
    const material = new THREE.MeshStandardMaterial({
      color: "#8b0000", transparent: true, opacity: 0.22, depthWrite: false,
    });
    joints.forEach((joint, k) => {
      const ball = new THREE.Mesh(sphere, material);
      ball.position.set(...joint);
      ball.scale.set(...sigma[k].map((value) => Math.max(value, 0.1)));
      group.add(ball);
    });
    group.userData.layer = "sigma";
    return group;
  }

  setLayers(layers) {
    this.layers = layers;
    this.world.traverse((part) => {
      const { layer } = part.userData;
      if (layer) part.visible = layer === "mesh" ? true : layers[layer] !== false;
    });
    this.render();
  }

  /* Look from where the camera stood. */
  reset() {
    this.world.updateMatrixWorld(true);
    const box = new THREE.Box3();
    for (const group of this.world.children) box.expandByObject(group.children[0]); // the surface
    if (box.isEmpty()) return;
    const sphere = box.getBoundingSphere(new THREE.Sphere());
    this.distance = (sphere.radius * 0.95) / Math.sin((this.view.fov * Math.PI) / 360);
    const toCamera = this.camera.clone().applyMatrix4(this.world.matrixWorld).sub(sphere.center).normalize();
    this.view.position.copy(sphere.center).addScaledVector(toCamera, this.distance);
    this.controls.target.copy(sphere.center);
    this.controls.update();
    this.fit();
  }

  turn(across, up) {
    const offset = this.view.position.clone().sub(this.controls.target);
    const spherical = new THREE.Spherical().setFromVector3(offset);
    spherical.theta -= across * TURN_RAD;
    spherical.phi = Math.min(Math.max(spherical.phi - up * TURN_RAD, 0.05), Math.PI - 0.05);
    this.view.position.copy(this.controls.target).add(offset.setFromSpherical(spherical));
    this.controls.update();
    this.render();
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || !height || !this.renderer) return;
    this.renderer.setSize(width, height, false);
    this.view.aspect = width / height;
    this.view.updateProjectionMatrix();
    this.render();
  }

  render() {
    if (this.renderer && !this.renderer.getContext().isContextLost()) this.renderer.render(this.scene, this.view);
  }

  clear() {
    this.world.traverse((part) => {
      part.geometry?.dispose();
      part.material?.dispose();
    });
    this.world.clear();
  }

  dispose() {
    this.clear();
    this.observer.disconnect();
    this.controls.dispose();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
    this.renderer = null;
    this.canvas.remove();
  }
}
