/* One small file, chosen by hand and given to Dash whole, in the store named by data-store:
 *   { name, contents, count }         contents: base64; count: so that the same file twice is two requests
 * A native input: the keyboard and screen readers know it. */

import { t } from "./words.mjs";

let count = 0;

export function mount(element) {
  const { store, accept, most, label } = element.dataset;
  const input = document.createElement("input");
  input.type = "file";
  input.accept = accept;
  input.id = "rig-file-input";
  input.className = "form-control";
  const words = document.createElement("label");
  words.htmlFor = input.id;
  words.textContent = label;
  const problem = document.createElement("div");
  problem.className = "hint is-wrong";
  problem.setAttribute("role", "alert");
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (!file) return;
    problem.textContent = "";
    try {
      if (file.size > Number(most)) throw new Error(t("{name} is too large for a rig.", { name: file.name }));
      const contents = await encode(file);
      count += 1;
      window.dash_clientside.set_props(store, { data: { name: file.name, contents, count } });
    } catch (error) {
      problem.textContent = error.message;
    }
    input.value = ""; // the same file may be chosen again
  });
  element.replaceChildren(words, input, problem);
}

async function encode(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let start = 0; start < bytes.length; start += 32768) {
    text += String.fromCharCode(...bytes.subarray(start, start + 32768));
  }
  return btoa(text);
}
