/* Brings browser modules to the page. A classic script, since a module would run only after the first
 * clientside callbacks have fired; it imports modules from /assets/modules/ when they are first wanted.
 *
 * Two ways in:
 *   <div data-module="player">        the module's mount(element) runs when the element appears,
 *                                     unmount(element) when it goes (both may be async)
 *   redys.call("player", "seek", 7)   runs an exported function; resolves to what it returns
 */
(function () {
  "use strict";

  const imported = new Map();
  const mounted = new Map();

  function load(name) {
    if (!/^[a-z][a-z0-9_]*$/.test(name)) {
      return Promise.reject(new Error(`No browser module is called ${name}`));
    }
    if (!imported.has(name)) {
      const coming = import(`/assets/modules/${name}.mjs`);
      coming.catch(() => imported.delete(name)); // a lost connection: the next call tries again
      imported.set(name, coming);
    }
    return imported.get(name);
  }

  async function call(name, functionName, ...values) {
    const module = await load(name);
    return module[functionName](...values);
  }

  /** What a cookie is called here: the server says in the page whether it has a prefix. */
  function cookieName(plain) {
    return (document.documentElement.dataset.cookies || "") + plain;
  }

  function csrfToken() {
    const opening = `${cookieName("_csrf_token")}=`;
    const cookie = document.cookie.split("; ").find((part) => part.startsWith(opening));
    return cookie ? decodeURIComponent(cookie.slice(opening.length)) : "";
  }

  function say(message) {
    const region = document.getElementById("live-region");
    if (region) region.textContent = message;
  }

  async function mount(element) {
    const name = element.dataset.module;
    mounted.set(element, name);
    try {
      const module = await load(name);
      if (element.isConnected && module.mount) await module.mount(element);
    } catch (error) {
      element.dataset.moduleError = String(error && error.message ? error.message : error);
      console.error(`Module ${name} could not start`, error);
    }
  }

  async function unmount(element, name) {
    mounted.delete(element);
    const module = await load(name);
    if (module.unmount) await module.unmount(element);
  }

  function look() {
    for (const element of document.querySelectorAll("[data-module]")) {
      if (!mounted.has(element)) mount(element);
    }
    for (const [element, name] of [...mounted]) {
      if (!element.isConnected) unmount(element, name);
    }
  }

  // A page with a player: its module, and the much that this imports, come while the server works the page out.
  if (/^\/(recording\/[^/]+(\/mark)?|compare\/[^/]+\/[^/]+)$/.test(location.pathname)) load("player");

  let scheduled = false;
  new MutationObserver(() => {
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      look();
    });
  }).observe(document.documentElement, { childList: true, subtree: true });

  window.redys = { load, call, cookieName, csrfToken, say };
})();
