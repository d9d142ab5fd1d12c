/* What a file is, in words, with a picture of it: asked of the server as soon as the file is there.
 *
 *   <div data-module="looks" data-columns=ID data-rows=ID>   the files of a folder on the server:
 *     <div data-url="/look?…" data-take="true">              each is looked into when the list appears
 *
 * `upload.mjs` shows the same for each file that has arrived. A checkerboard take is looked into again when
 * the board's numbers of corners (the inputs data-columns and data-rows) change. */

import { t } from "./words.mjs";

const SETTLED_MS = 700; // a number that is being typed is not looked for yet

const watched = new WeakMap();

export function mount(element) {
  const looks = [...element.querySelectorAll("[data-url]")].map((place) => {
    const name = place.previousElementSibling.textContent;
    const look = new Look(place, name, element.dataset);
    look.ask(place.dataset.url, place.dataset.take === "true");
    return look;
  });
  watched.set(element, looks);
}

export function unmount(element) {
  for (const look of watched.get(element) || []) look.stop();
  watched.delete(element);
}

/** One file's words and picture, in `place`. */
export class Look {
  constructor(place, name, inputs) {
    this.place = place;
    this.name = name;
    this.inputs = inputs;
    this.place.className = "look";
    this.asked = 0;
    this.hear = (event) => {
      if ([inputs.columns, inputs.rows].includes(event.target.id)) this.askAgainSoon();
    };
    document.addEventListener("input", this.hear);
  }

  stop() {
    document.removeEventListener("input", this.hear);
    clearTimeout(this.waiting);
    this.asked += 1; // what is still to come is not wanted
  }

  askAgainSoon() {
    if (!this.isTake || !this.url) return;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.ask(this.url, true), SETTLED_MS);
  }

  async ask(url, isTake) {
    this.url = url;
    this.isTake = isTake;
    this.asked += 1;
    const mine = this.asked;
    this.say(isTake ? t("Looking for the checkerboard…") : t("Looking into the file…"));
    try {
      const answer = await fetch(this.address());
      const text = await answer.text();
      if (mine !== this.asked) return;
      if (!answer.ok) throw new Error(text);
      this.show(JSON.parse(text));
    } catch (error) {
      if (mine === this.asked) this.fail(error);
    }
  }

  address() {
    if (!this.isTake) return this.url;
    const [columns, rows] = [this.inputs.columns, this.inputs.rows].map(
      (id) => document.getElementById(id)?.value || "",
    );
    return `${this.url}${this.url.includes("?") ? "&" : "?"}columns=${columns}&rows=${rows}`;
  }

  say(words) {
    const line = document.createElement("p");
    line.className = "look-wait";
    line.textContent = words;
    this.place.replaceChildren(line);
  }

  fail(error) {
    const cut = error instanceof TypeError; // no answer at all
    this.say(cut ? t("The server does not answer. The file is kept.") : error.message);
    this.place.append(makeButton(t("Look again"), () => this.ask(this.url, this.isTake)));
  }

  show({ findings, picture, board }) {
    const list = document.createElement("ul");
    list.className = "checks";
    for (const { level, mark, word, text } of findings) {
      const item = document.createElement("li");
      item.className = `check-${level}`;
      const head = document.createElement("span");
      head.className = "check-word";
      head.textContent = `${mark} ${word}`;
      const words = document.createElement("span");
      words.textContent = text;
      item.append(head, words);
      list.append(item);
    }
    const parts = picture ? [this.makePicture(picture)] : [];
    const body = document.createElement("div");
    body.append(list);
    if (board) body.append(this.makeOffer(board));
    this.place.replaceChildren(...parts, body);
    const bad = findings.filter(({ level }) => level !== "note");
    if (bad.length) window.redys.say(bad.map(({ word, text }) => `${word}: ${text}`).join(" "));
  }

  makePicture(source) {
    const image = document.createElement("img");
    image.src = source;
    image.alt = this.isTake
      ? t("A frame of {name}, with the corners that were found drawn on it", { name: this.name })
      : t("A frame from the middle of {name}", { name: this.name });
    return image;
  }

  makeOffer([columns, rows]) {
    return makeButton(t("Use {columns} across and {rows} down", { columns, rows }), () => {
      window.dash_clientside.set_props(this.inputs.columns, { value: columns });
      window.dash_clientside.set_props(this.inputs.rows, { value: rows });
      // Setting a value by script is no input of a person's: each take is told.
      for (const id of [this.inputs.columns, this.inputs.rows]) {
        setTimeout(() => document.getElementById(id).dispatchEvent(new Event("input", { bubbles: true })), 50);
      }
    });
  }
}

function makeButton(words, work) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "btn btn-sm btn-outline-secondary";
  button.textContent = words;
  button.addEventListener("click", work);
  return button;
}
