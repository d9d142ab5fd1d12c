/* Chooses files, sends them so that a cut connection costs nothing (tus-js-client), and says which camera
 * each is. Tells Dash in the store named by data-store:
 *   { draft, files: [{ id, name, kind, camera, complete }] }
 * A reload finds the same draft again; a file that was under way goes on once it is chosen again. */

import { Look } from "./looks.mjs";
import { loadTus, makeUpload, openDraft, removeSent } from "./sending.mjs";
import { say, t } from "./words.mjs";

const REMEMBERED = "redys-draft";
const PLACES = "redys-draft-places"; // what each file is, by its id: only this browser knows until the check
const KINDS = [
  ["video", t("Video")],
  ["calibration", t("Checkerboard take")],
  ["rig", t("Solved rig")],
];

const mounts = new WeakMap();

export async function mount(element) {
  const pane = new Pane(element);
  mounts.set(element, pane);
  await pane.start();
}

export function unmount(element) {
  const pane = mounts.get(element);
  if (pane) pane.stop();
  mounts.delete(element);
}

/** What a file is, by its name (`sure` if that says so); the person may say otherwise. */
export function guess(path) {
  const lower = path.toLowerCase();
  const name = lower.split("/").pop();
  if (/\.(json|toml|ya?ml)$/.test(name)) return { kind: "rig", camera: "", sure: true };
  const stem = name.replace(/\.[^.]*$/, "");
  const kind = /calib|checker|chess|board/.test(lower) ? "calibration" : "video";
  const known = ["front", "left", "right"].find((camera) => stem.includes(camera));
  const plain = stem
    .replace(/calibration|calib|checkerboard|checker|chessboard|chess|board/g, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 32);
  return { kind, camera: known || plain || "front", sure: Boolean(known) };
}

export function sayBytes(count) {
  const units = [t("bytes"), "kB", "MB", "GB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit ? say(count, 1) : count} ${units[unit]}`;
}

class Pane {
  constructor(element) {
    this.element = element;
    this.rows = [];
    this.draft = null;
    this.stopped = false;
  }

  async start() {
    this.draw();
    await this.remember();
    this.tell();
  }

  stop() {
    this.stopped = true;
    for (const row of this.rows) {
      if (row.upload) row.upload.abort();
      row.look.stop();
    }
  }

  draw() {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.accept = this.element.dataset.accept;
    input.className = "form-control";
    input.id = "upload-input";
    input.addEventListener("change", () => {
      this.add([...input.files]);
      input.value = "";
    });
    const label = document.createElement("label");
    label.htmlFor = input.id;
    label.textContent = t("Choose the cameras' videos and their checkerboard takes, or drop them here");
    const folder = document.createElement("input");
    folder.type = "file";
    folder.webkitdirectory = true;
    folder.className = "form-control";
    folder.id = "upload-folder";
    folder.addEventListener("change", () => {
      const wanted = this.element.dataset.accept.split(",");
      const fits = (name) => name !== "session.toml" && wanted.some((end) => name.endsWith(end)); // the form's
      this.add([...folder.files].filter((file) => fits(file.name.toLowerCase())));
      folder.value = "";
    });
    const folderLabel = document.createElement("label");
    folderLabel.htmlFor = folder.id;
    folderLabel.textContent = t("or a whole folder, with the takes in its calibration folder");
    const zone = document.createElement("div");
    zone.className = "drop";
    zone.append(label, input, folderLabel, folder);
    for (const type of ["dragenter", "dragover"]) {
      zone.addEventListener(type, (event) => {
        event.preventDefault();
        zone.classList.add("is-over");
      });
    }
    for (const type of ["dragleave", "drop"]) {
      zone.addEventListener(type, (event) => {
        event.preventDefault();
        zone.classList.remove("is-over");
      });
    }
    zone.addEventListener("drop", (event) => this.add([...event.dataTransfer.files]));
    this.list = document.createElement("ul");
    this.list.className = "upload-list";
    this.problem = document.createElement("p");
    this.problem.className = "notice notice-failed";
    this.problem.setAttribute("role", "alert");
    this.problem.hidden = true;
    this.element.replaceChildren(zone, this.problem, this.list);
  }

  async remember() {
    const draft = localStorage.getItem(REMEMBERED);
    if (!draft) return;
    const response = await fetch(`/upload/${draft}`);
    if (!response.ok) {
      localStorage.removeItem(REMEMBERED);
      localStorage.removeItem(PLACES);
      return;
    }
    this.draft = draft;
    const places = JSON.parse(localStorage.getItem(PLACES) || "{}");
    for (const file of (await response.json()).files) {
      const row = this.makeRow(file.name, file.length, file.name, places[file.id]);
      row.id = file.id;
      row.url = file.url;
      row.complete = file.received === file.length;
      if (row.complete) {
        row.show(t("Arrived, {size}", { size: sayBytes(file.length) }));
        row.lookInto();
      } else {
        const sizes = { part: sayBytes(file.received), size: sayBytes(file.length) };
        row.show(t("{part} of {size} arrived. Choose the file again to go on.", sizes), true);
      }
    }
  }

  async openDraft() {
    if (this.draft) return;
    this.draft = await openDraft();
    localStorage.setItem(REMEMBERED, this.draft);
  }

  async add(files) {
    this.problem.hidden = true;
    try {
      const tus = await loadTus(this.element.dataset.tus);
      await this.openDraft();
      for (const file of files) this.send(tus, file);
    } catch (error) {
      this.problem.textContent = error.message;
      this.problem.hidden = false;
    }
  }

  send(tus, file) {
    const begun = this.rows.find(
      (row) => row.name === file.name && row.length === file.size && !row.complete && !row.upload,
    );
    const row = begun || this.makeRow(file.name, file.size, file.webkitRelativePath || file.name);
    row.show(t("Starting"));
    row.upload = makeUpload(tus, file, this.draft, {
      uploadUrl: row.url || null,
      onCut: () => row.show(t("The connection is cut. Trying again; nothing is lost."), true),
      onUploadUrlAvailable: () => {
        row.url = new URL(row.upload.url, window.location.href).pathname;
        row.id = row.url.split("/").pop();
        this.tell();
      },
      onProgress: (sent, total) => {
        row.show(t("{percent} % of {size}", { percent: Math.floor((100 * sent) / total), size: sayBytes(total) }));
      },
      onSuccess: () => {
        row.complete = true;
        row.upload = null;
        row.show(t("Arrived, {size}", { size: sayBytes(file.size) }));
        window.redys.say(t("{name} has arrived.", { name: file.name }));
        row.lookInto();
        this.tell();
      },
      onError: (error) => {
        row.upload = null;
        const words = error.originalResponse ? error.originalResponse.getBody() : "";
        row.show(words || t("The connection is cut. Choose the file again to go on."), true);
        this.tell();
      },
    });
    row.upload.start();
  }

  makeRow(name, length, path = name, place = guess(path)) {
    const row = { name, length, id: null, url: null, complete: false, upload: null, ...place };
    row.item = document.createElement("li");
    row.item.className = "upload-file";
    const cell = document.createElement("div");
    cell.className = "name-cell";
    const title = document.createElement("div");
    title.className = "name";
    title.textContent = name;
    const status = document.createElement("div");
    status.className = "status";
    cell.append(title, status);
    row.show = (words, wrong = false) => {
      status.textContent = words;
      status.classList.toggle("is-wrong", wrong);
    };
    const camera = this.makeCamera(row);
    const below = document.createElement("div");
    row.look = new Look(below, name, this.element.dataset);
    row.lookInto = () => row.look.ask(`${row.url}/look`, row.kind === "calibration");
    row.item.append(cell, this.makeKind(row, camera), camera, this.makeRemove(row), row.remark, below);
    this.list.append(row.item);
    this.rows.push(row);
    return row;
  }

  makeKind(row, camera) {
    const select = document.createElement("select");
    select.className = "form-select";
    for (const [value, word] of KINDS) select.add(new Option(word, value, false, value === row.kind));
    camera.hidden = row.kind === "rig";
    select.addEventListener("change", () => {
      row.kind = select.value;
      camera.hidden = row.kind === "rig";
      if (row.complete) row.lookInto();
      this.tell();
    });
    return label(t("Kind"), t("Kind of {name}", { name: row.name }), select);
  }

  makeCamera(row) {
    const input = document.createElement("input");
    input.className = "form-control";
    input.value = row.camera;
    input.maxLength = 32;
    input.setAttribute("list", "upload-cameras");
    input.spellcheck = false;
    input.addEventListener("change", () => {
      row.camera = input.value.trim().toLowerCase();
      row.sure = true;
      input.value = row.camera;
      this.tell();
    });
    const cell = label(t("Camera"), t("Camera of {name}", { name: row.name }), input);
    row.remark = document.createElement("div");
    row.remark.className = "remark";
    row.remark.id = `${input.id}-remark`;
    input.setAttribute("aria-describedby", row.remark.id);
    return cell;
  }

  makeRemove(row) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-outline-secondary";
    button.textContent = t("Remove");
    button.setAttribute("aria-label", t("Remove {name}", { name: row.name }));
    button.addEventListener("click", async () => {
      if (row.upload) await row.upload.abort();
      if (row.url) await removeSent(row.url);
      row.look.stop();
      row.item.remove();
      this.rows = this.rows.filter((other) => other !== row);
      this.tell();
    });
    return button;
  }

  /** Says at once where it is not clear which camera a file is of. */
  remark() {
    for (const row of this.rows) {
      const same = this.rows.filter((other) => other.kind === row.kind && other.camera === row.camera);
      if (row.kind === "rig") row.remark.textContent = "";
      else if (same.length > 1) row.remark.textContent = t("Two files of this kind are called so.");
      else if (!row.sure) row.remark.textContent = t("Its name does not tell: which camera is it?");
      else row.remark.textContent = "";
    }
  }

  tell() {
    if (this.stopped) return;
    const known = this.rows.filter((row) => row.id);
    const places = known.map(({ id, kind, camera, sure }) => [id, { kind, camera, sure }]);
    this.remark();
    localStorage.setItem(PLACES, JSON.stringify(Object.fromEntries(places)));
    const files = this.rows.map(({ id, name, kind, camera, complete }) => ({
      id,
      name,
      kind,
      camera,
      complete,
    }));
    window.dash_clientside.set_props(this.element.dataset.store, { data: { draft: this.draft, files } });
  }
}

let fields = 0;

function label(word, whole, control) {
  fields += 1;
  control.id = `upload-field-${fields}`;
  const cell = document.createElement("div");
  const tag = document.createElement("label");
  tag.htmlFor = control.id;
  tag.textContent = word;
  control.setAttribute("aria-label", whole);
  cell.append(tag, control);
  return cell;
}
