/* Sends still pictures (tus-js-client, so that a cut connection costs nothing) and tells Dash, in the store
 * named by data-store, which draft they are in:  { draft, files: [{ name, complete }] } */

import { loadTus, makeUpload, openDraft, removeSent } from "./sending.mjs";
import { t } from "./words.mjs";

const AT_ONCE = 3;
const panes = new WeakMap();

export function mount(element) {
  panes.set(element, new Pane(element));
}

export function unmount(element) {
  panes.get(element)?.stop();
  panes.delete(element);
}

class Pane {
  constructor(element) {
    this.element = element;
    this.rows = [];
    this.waiting = [];
    this.busy = 0;
    this.draft = null;
    this.stopped = false;
    this.draw();
    this.tell();
  }

  stop() {
    this.stopped = true;
    for (const row of this.rows) row.upload?.abort();
  }

  draw() {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.accept = this.element.dataset.accept;
    input.className = "form-control";
    input.id = "photo-input";
    input.addEventListener("change", () => {
      this.add([...input.files]);
      input.value = "";
    });
    const label = document.createElement("label");
    label.htmlFor = input.id;
    label.textContent = t("Choose up to {most} pictures, or drop them here", { most: this.element.dataset.most });
    const zone = document.createElement("div");
    zone.className = "drop";
    zone.append(label, input);
    for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
      zone.addEventListener(type, (event) => {
        event.preventDefault();
        zone.classList.toggle("is-over", type === "dragenter" || type === "dragover");
      });
    }
    zone.addEventListener("drop", (event) => this.add([...event.dataTransfer.files]));
    this.problem = document.createElement("p");
    this.problem.className = "notice notice-failed";
    this.problem.setAttribute("role", "alert");
    this.problem.hidden = true;
    this.list = document.createElement("ul");
    this.list.className = "photo-chosen";
    this.element.replaceChildren(zone, this.problem, this.list);
  }

  async openDraft() {
    if (this.draft) return;
    this.draft = await openDraft("?kind=photos");
  }

  async add(files) {
    this.problem.hidden = true;
    try {
      this.tus = await loadTus(this.element.dataset.tus);
      this.opening ??= this.openDraft(); // two drops at once must not open two drafts
      await this.opening;
      for (const file of files) this.waiting.push(this.makeRow(file));
      this.tell();
      this.sendNext();
    } catch (error) {
      this.opening = null;
      this.problem.textContent = error.message;
      this.problem.hidden = false;
    }
  }

  makeRow(file) {
    const row = { file, name: file.name, complete: false, upload: null, url: null };
    row.item = document.createElement("li");
    const picture = document.createElement("img");
    picture.alt = "";
    row.preview = URL.createObjectURL(file);
    picture.src = row.preview;
    picture.addEventListener("error", () => picture.classList.add("is-missing"));
    const name = document.createElement("span");
    name.className = "name notranslate";
    name.textContent = file.name;
    row.status = document.createElement("span");
    row.status.className = "status";
    row.status.textContent = t("Waiting");
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "btn btn-sm btn-outline-secondary";
    remove.textContent = t("Remove");
    remove.setAttribute("aria-label", t("Remove {name}", { name: file.name }));
    remove.addEventListener("click", () => this.remove(row));
    row.item.append(picture, name, row.status, remove);
    this.list.append(row.item);
    this.rows.push(row);
    return row;
  }

  sendNext() {
    while (this.busy < AT_ONCE && this.waiting.length && !this.stopped) {
      this.busy += 1;
      this.send(this.waiting.shift());
    }
  }

  send(row) {
    const done = () => {
      row.upload = null;
      this.busy -= 1;
      this.tell();
      this.sendNext();
    };
    row.upload = makeUpload(this.tus, row.file, this.draft, {
      onUploadUrlAvailable: () => {
        row.url = new URL(row.upload.url, window.location.href).pathname;
      },
      onProgress: (sent, total) => {
        row.status.textContent = `${Math.floor((100 * sent) / total)} %`;
      },
      onSuccess: () => {
        row.complete = true;
        row.status.textContent = t("Arrived");
        done();
      },
      onError: (error) => {
        row.status.textContent = error.originalResponse?.getBody() || t("The connection is cut. Choose it again.");
        row.status.classList.add("is-wrong");
        row.failed = true;
        done();
      },
    });
    row.upload.start();
  }

  async remove(row) {
    this.waiting = this.waiting.filter((other) => other !== row);
    if (row.upload) {
      await row.upload.abort();
      this.busy -= 1;
    }
    if (row.url) await removeSent(row.url);
    URL.revokeObjectURL(row.preview);
    row.item.remove();
    this.rows = this.rows.filter((other) => other !== row);
    this.tell();
    this.sendNext();
  }

  tell() {
    if (this.stopped) return;
    const files = this.rows.filter((row) => !row.failed).map(({ name, complete }) => ({ name, complete }));
    window.dash_clientside.set_props(this.element.dataset.store, { data: { draft: this.draft, files } });
  }
}
