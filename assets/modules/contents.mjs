/* The bar of a long page's sections: marks the link of the section that is being read.
 *
 * <nav data-module="contents"> links to "#section-…" </nav>
 */

const mounted = new Map();

export function mount(element) {
  const links = [...element.querySelectorAll("a[href^='#']")];
  const sections = links.map((link) => document.getElementById(link.hash.slice(1)));
  let marked = null;
  function mark() {
    // The last section whose head has passed below the bar; before the first there is none.
    const line = element.getBoundingClientRect().bottom + 48;
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
    const passed = sections.filter((section) => section && section.getBoundingClientRect().top <= line);
    const link = atEnd ? links.at(-1) : links[sections.indexOf(passed.at(-1))];
    if (link === marked) return;
    marked?.removeAttribute("aria-current");
    link?.setAttribute("aria-current", "true");
    marked = link;
    if (link) element.scrollTo({ left: link.offsetLeft - element.clientWidth / 2 + link.offsetWidth / 2 });
  }
  function go(event) {
    const link = event.target.closest("a");
    const section = sections[links.indexOf(link)];
    if (!section) return;
    event.preventDefault(); // the fragment is the player's moment, and stays
    section.scrollIntoView({ block: "start", behavior: "instant" });
    section.setAttribute("tabindex", "-1");
    section.focus({ preventScroll: true });
  }
  const observer = new IntersectionObserver(mark, { threshold: [0, 0.01, 1] });
  for (const section of sections) if (section) observer.observe(section);
  addEventListener("scroll", mark, { passive: true });
  element.addEventListener("click", go);
  mark();
  mounted.set(element, () => {
    observer.disconnect();
    removeEventListener("scroll", mark);
    element.removeEventListener("click", go);
  });
}

export function unmount(element) {
  mounted.get(element)?.();
  mounted.delete(element);
}
