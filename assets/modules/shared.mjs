/* The page of a share link: takes the token out of the address, and posts it when the reader says so.
 *
 * <form data-module="shared" data-part="entry">      asks for the password where there is one, and opens
 * <button data-module="shared" data-part="close">    forgets the cookie
 * <button data-module="shared" data-part="language" data-code="de">
 *
 * The token is a fragment, which no browser sends anywhere by itself; it is kept in this page alone.
 */

import { t } from "./words.mjs";

const TOKEN = /^#([A-Za-z0-9_-]{43})$/;
const YEAR_S = 365 * 86400;

let token = null;

/* Out of the address bar and the history at once: both are looked at over shoulders. */
function takeToken() {
  const found = TOKEN.exec(location.hash);
  if (!found) return;
  token = found[1];
  history.replaceState(null, "", location.pathname);
}

function post(address, body) {
  return fetch(address, {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": "application/json", "X-CSRFToken": window.redys.csrfToken() },
    body: JSON.stringify(body),
  });
}

function mountEntry(form) {
  const notice = form.querySelector("[role=alert]");
  const password = form.querySelector("input");
  const open = form.querySelector("button");
  const say = (text) => {
    notice.textContent = text;
    notice.hidden = !text;
  };
  const look = () => {
    takeToken();
    open.disabled = token === null;
    say(token === null ? t("The link is not whole. Open it again as it was sent to you.") : "");
  };
  look();
  addEventListener("hashchange", look);
  form.dataset.ready = "true";
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (token === null || open.disabled) return;
    open.disabled = true;
    say("");
    try {
      const answer = await post("/shared/open", { token, password: password.value });
      const said = answer.headers.get("Content-Type")?.startsWith("application/json") ? await answer.json() : {};
      if (answer.ok) {
        location.replace(said.address);
        return;
      }
      if (said.why === "password" || said.why === "wait") {
        form.querySelector(".shared-password").hidden = false;
        password.focus();
      }
      say(said.words ?? t("The server answered {status}. Open the link again.", { status: answer.status }));
    } catch {
      say(t("The server cannot be reached. Try again."));
    }
    open.disabled = false;
  });
}

function mountClose(button) {
  button.addEventListener("click", async () => {
    await post("/shared/close", {});
    location.replace("/shared");
  });
}

function mountLanguage(button) {
  button.addEventListener("click", () => {
    const { code } = button.dataset;
    document.cookie = `redys_language=${code}; path=/; max-age=${YEAR_S}; samesite=lax`;
    // The token lives in this page alone, so it goes along through the reload.
    if (token !== null) history.replaceState(null, "", `${location.pathname}#${token}`);
    location.reload();
  });
}

export function mount(element) {
  ({ entry: mountEntry, close: mountClose, language: mountLanguage })[element.dataset.part](element);
}
