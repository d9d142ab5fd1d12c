/* What a person should hear of who does not look: how far the work is and that it has ended, in the page's
 * title; and that the server has not been heard of for a while, on the page.
 *
 *   <div data-module="watch" data-heard="2000 2026-…" data-mark="42 %" data-toasts=ID>
 *
 * The tray writes data-heard at each look at the server (how long until the next, and when this was) and
 * data-mark while something is at work. */

import { t } from "./words.mjs";

const LATE = 3; // intervals without a word, after which something is wrong
const PATIENCE_MS = 6000; // and this at least: a busy server may take a while
const AWAY = 503; // something that the server stands on is away, in words
const ENDED = "X-ReDys-Ended"; // why the reader is signed out
const ACTIVE = "X-ReDys-Active"; // the reader has done something since the page last asked
const DEEDS = ["pointerdown", "keydown", "wheel", "touchstart"];
const SEEN_MS = 20_000; // how long an end stays in the title of a page that is being looked at

const watched = new WeakMap();

export function mount(element) {
  watched.set(element, new Watch(element));
}

export function unmount(element) {
  watched.get(element)?.stop();
  watched.delete(element);
}

class Watch {
  constructor(element) {
    this.element = element;
    this.heardAt = performance.now();
    this.ended = "";
    this.cut = false;
    this.observers = [
      observe(element, { attributes: true, attributeFilter: ["data-heard", "data-mark"] }, () => this.hear()),
      observe(document.getElementById(element.dataset.toasts), { childList: true, subtree: true }, (changes) =>
        this.see(changes),
      ),
      // A page that opens writes its own title.
      observe(document.head, { childList: true, subtree: true, characterData: true }, () => this.write()),
    ];
    this.looked = () => this.look();
    document.addEventListener("visibilitychange", this.looked);
    window.addEventListener("offline", this.looked);
    this.clock = setInterval(() => this.check(), 1000);
    // Dash says nothing of an answer that is none: what the server says of itself is shown here.
    this.acted = false;
    this.act = () => {
      this.acted = true;
    };
    for (const deed of DEEDS) document.addEventListener(deed, this.act, { capture: true, passive: true });
    this.asked = window.fetch;
    window.fetch = async (address, options) => {
      const answer = await this.asked.call(window, address, this.mark(address, options));
      if (answer.status === 401 && answer.headers.get(ENDED)) this.goToSignIn(answer.headers.get(ENDED));
      if (answer.status === AWAY && /^text\/plain/.test(answer.headers.get("Content-Type") || "")) {
        answer.clone().text().then((words) => this.tell(words.trim()));
      }
      return answer;
    };
  }

  stop() {
    for (const observer of this.observers) observer.disconnect();
    document.removeEventListener("visibilitychange", this.looked);
    window.removeEventListener("offline", this.looked);
    clearInterval(this.clock);
    clearTimeout(this.forgetting);
    window.fetch = this.asked;
    for (const deed of DEEDS) document.removeEventListener(deed, this.act, { capture: true });
  }

  /** What Dash asks the server also says whether somebody is at work here. */
  mark(address, options) {
    if (!this.acted || !options?.headers || !String(address).includes("_dash-update-component")) return options;
    this.acted = false;
    const headers = new Headers(options.headers);
    headers.set(ACTIVE, "1");
    return { ...options, headers };
  }

  /** The sign-in has ended: what is shown here is nobody's to read until they sign in again. */
  goToSignIn(ended) {
    const here = location.pathname + location.search + location.hash;
    location.replace(`/sign-in?${new URLSearchParams({ next: here, ended })}`);
  }

  tell(words) {
    this.cut = true;
    this.say(words);
  }

  hear() {
    this.heardAt = performance.now();
    if (this.cut) {
      this.cut = false;
      this.say(t("The connection is back; this page has caught up."));
      setTimeout(() => !this.cut && this.say(""), 5000);
    }
    this.write();
  }

  /** An announcement has come: the end of a run says itself in its heading. */
  see(changes) {
    for (const { addedNodes } of changes) {
      for (const node of addedNodes) {
        const toast = node.nodeType === 1 && (node.matches(".toast") ? node : node.querySelector(".toast"));
        const heading = toast && toast.querySelector(".toast-header")?.textContent.trim();
        if (heading) this.end(heading);
      }
    }
  }

  end(heading) {
    this.ended = heading;
    this.write();
    this.forgetSoon();
  }

  look() {
    if (document.hidden) return;
    this.heardAt = Math.max(this.heardAt, performance.now() - 1000); // timers of a hidden page sleep
    this.forgetSoon();
    this.check();
  }

  forgetSoon() {
    if (document.hidden) return; // it stays until somebody has looked
    clearTimeout(this.forgetting);
    this.forgetting = setTimeout(() => {
      this.ended = "";
      this.write();
    }, SEEN_MS);
  }

  check() {
    if (document.hidden || this.cut) return;
    const interval = parseInt(this.element.dataset.heard || "10000", 10);
    const silent = performance.now() - this.heardAt;
    if (navigator.onLine && silent < Math.max(LATE * interval, PATIENCE_MS)) return;
    this.cut = true;
    this.say(
      navigator.onLine
        ? t("The server does not answer. Work that is going on there goes on; this page tries again by itself.")
        : t("No network. Work that is going on on the server goes on; this page catches up by itself."),
    );
  }

  say(words) {
    this.element.textContent = words;
  }

  write() {
    const mark = this.ended || this.element.dataset.mark || "";
    const plain = document.title.replace(/^\[[^\]]*\] /, "");
    const wanted = mark ? `[${mark}] ${plain}` : plain;
    if (document.title !== wanted) document.title = wanted;
  }
}

function observe(target, options, work) {
  const observer = new MutationObserver(work);
  if (target) observer.observe(target, options);
  return observer;
}
