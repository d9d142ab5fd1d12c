/* The reader's language and theme, kept in cookies: the server writes pages by them. */

import { t } from "./words.mjs";

const YEAR_S = 365 * 86400;
const mounted = new Map();

function keep(name, value) {
  const called = window.redys.cookieName(name);
  const secure = called !== name || location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${called}=${value}; path=/; max-age=${YEAR_S}; SameSite=Lax${secure}`;
}

function press(chosen) {
  for (const button of chosen.parentElement.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === chosen));
  }
}

function chooseTheme(button) {
  document.documentElement.dataset.theme = button.dataset.theme;
  keep("redys_theme", button.dataset.theme);
  press(button);
  window.redys.say(t("Theme: {theme}", { theme: button.textContent }));
}

function chooseLanguage(button) {
  if (button.lang === document.documentElement.lang) return;
  keep("redys_language", button.dataset.language);
  location.reload(); // the address stays, and with it the moment that a report shows
}

export function mount(element) {
  function click(event) {
    const button = event.target.closest("button");
    if (button?.dataset.theme) chooseTheme(button);
    else if (button?.dataset.language) chooseLanguage(button);
  }
  function leave(event) {
    if (!element.contains(event.target)) element.open = false;
  }
  function close(event) {
    if (event.key !== "Escape" || !element.open) return;
    element.open = false;
    element.querySelector("summary").focus();
  }
  element.addEventListener("click", click);
  element.addEventListener("keydown", close);
  document.addEventListener("pointerdown", leave);
  document.addEventListener("focusin", leave);
  mounted.set(element, () => {
    document.removeEventListener("pointerdown", leave);
    document.removeEventListener("focusin", leave);
  });
}

export function unmount(element) {
  mounted.get(element)?.();
  mounted.delete(element);
}
