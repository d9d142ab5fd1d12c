/* Words in the reader's language: `t("Frame {n} of {total}", { n, total })`.
 *
 * The English sentence is the key and has to be a literal, since the catalogue is collected from them. What
 * is not in the catalogue stays English. Numbers among the values get the decimal sign of the language.
 */

const LANGUAGE = document.documentElement.lang || "en";

const DECIMAL_SIGN = new Intl.NumberFormat(LANGUAGE)
  .formatToParts(1.5).find((part) => part.type === "decimal").value;

/* A page waits for this file before its modules run, so that no word has to be drawn twice. */
const WORDS = LANGUAGE === "en" ? {} : await fetchWords();

async function fetchWords() {
  try {
    const answer = await fetch(`/words/${LANGUAGE}.json`);
    if (answer.ok) return await answer.json();
    console.warn(`Words in ${LANGUAGE}: ${answer.status}`);
  } catch (error) {
    console.warn(`Words in ${LANGUAGE}`, error);
  }
  return {};
}

/* A number in the reader's way of writing; `digits` after the decimal sign, or as many as it has. */
export function say(number, digits = null) {
  if (!Number.isFinite(number)) return String(number);
  const written = digits === null ? String(number) : number.toFixed(digits);
  return DECIMAL_SIGN === "." ? written : written.replace(".", DECIMAL_SIGN);
}

/* A sentence in the reader's language, with `values` at its `{names}`. */
export function t(english, values = {}) {
  const sentence = WORDS[english] ?? english;
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => {
    if (!(name in values)) return whole;
    const value = values[name];
    return typeof value === "number" ? say(value) : String(value);
  });
}
