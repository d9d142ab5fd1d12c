"""A walk through a page by keyboard alone."""

from __future__ import annotations

from playwright.sync_api import Page

MOST_STOPS = 400

# What can be used on the page and is shown; of a group of radio buttons the keyboard stops at one.
LIST_CONTROLS = """() => {
  const found = [...document.querySelectorAll(
    "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0'], video[controls]",
  )].filter((each) => !each.disabled && !each.closest("[disabled], [inert]") && each.tabIndex >= 0
    && each.checkVisibility({ visibilityProperty: true }) && each.getClientRects().length);
  const groups = new Set();
  const wanted = found.filter((each) => {
    if (each.type !== "radio") return true;
    const group = each.name || each.closest("[role=radiogroup], fieldset, div")?.id;
    return groups.has(group) ? false : groups.add(group);
  });
  wanted.forEach((each, number) => { each.dataset.walk = number; });
  return wanted.map((each) => each.outerHTML.slice(0, 140));
}"""

LOOK = """() => {
  const each = document.activeElement;
  if (!each || each === document.body) return null;
  const box = each.getBoundingClientRect();
  const isMarked = (shown) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(shown);
    return outlineStyle !== "none" && parseFloat(outlineWidth) > 0 || boxShadow !== "none";
  };
  const wrap = each.closest("label") ?? each;
  // Of what is taller than the window, the middle of the part that is in it.
  const [top, bottom] = [Math.max(box.top, 0), Math.min(box.bottom, innerHeight)];
  const down = bottom - top > innerHeight / 2 ? (top + bottom) / 2 : top + Math.min((bottom - top) / 2, 20);
  const across = Math.min(Math.max(box.left + box.width / 2, 1), innerWidth - 1);
  const at = document.elementFromPoint(across, Math.min(Math.max(down, 1), innerHeight - 1));
  return {
    walk: each.dataset.walk ?? null,
    group: each.type === "radio" ? each.name : null,
    html: each.outerHTML.slice(0, 140),
    inView: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    covered: !!at && !each.contains(at) && !at.contains(each) && !wrap.contains(at),
    marked: [each, each.closest("label"), each.nextElementSibling].some((shown) => shown && isMarked(shown)),
  };
}"""


def walk(page: Page) -> list[str]:
    """What is wrong with the way of the Tab key through the page: not reached, not seen, covered, trapped."""
    wanted = page.evaluate(LIST_CONTROLS)
    page.evaluate("() => { document.activeElement?.blur(); scrollTo(0, 0); }")
    seen: set[str] = set()
    faults: list[str] = []
    last: str | None = None
    for _stop in range(MOST_STOPS):
        page.keyboard.press("Tab")
        found = page.evaluate(LOOK)
        if found is None:  # round the corner: into the browser's own controls, and out of the page
            break
        if found["walk"] == last:  # a date has a stop for its day, month and year
            continue
        last = found["walk"]
        if last in seen and last is not None:
            break
        seen.add(last)
        for fault, is_so in (
            ("not in view", not found["inView"]),
            ("covered", found["covered"]),
            ("without a visible focus", not found["marked"]),
        ):
            if is_so:
                faults.append(f"{fault}: {found['html']}")
    else:
        faults.append(f"no end after {MOST_STOPS} stops: the keyboard is trapped")
    faults += [f"never reached: {html}" for number, html in enumerate(wanted) if str(number) not in seen]
    return faults
