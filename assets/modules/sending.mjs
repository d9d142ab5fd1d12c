/* Sending files with tus-js-client: what all forms that send have in common. */

import { t } from "./words.mjs";

const PIECE_BYTES = 64 * 2 ** 20; // a sign-in or a proxy's limit is met between pieces, not after an hour
const RETRY_MS = [0, 1000, 2000, 5000, 10000, 20000, 30000, 60000, 60000, 60000, 60000, 60000, 60000];

export async function loadTus(address) {
  if (window.tus) return window.tus;
  await new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error(t("The upload part could not be loaded. Reload the page.")));
    document.head.append(script);
  });
  return window.tus;
}

/* A draft that files are sent to; `query` says of what kind ("?kind=photos"). */
export async function openDraft(query = "") {
  const response = await fetch(`/upload${query}`, {
    method: "POST",
    headers: { "X-CSRFToken": window.redys.csrfToken() },
  });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()).draft;
}

/* An upload of a file to a draft, not begun yet; `more` are options of tus-js-client.
 * `onCut` is called each time the connection is cut and it will try again. */
export function makeUpload(tus, file, draft, { onCut = () => {}, ...more }) {
  return new tus.Upload(file, {
    endpoint: `/upload/${draft}`,
    chunkSize: PIECE_BYTES,
    retryDelays: RETRY_MS,
    storeFingerprintForResuming: false, // the server lists what has arrived
    metadata: { filename: file.name },
    headers: { "X-CSRFToken": window.redys.csrfToken() },
    onShouldRetry: (error) => {
      const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
      const again = status === 0 || status === 409 || status === 423 || (status >= 500 && status !== 507);
      if (again) onCut();
      return again;
    },
    ...more,
  });
}

/* Take back a file that was sent, by its address. */
export function removeSent(url) {
  return fetch(url, {
    method: "DELETE",
    headers: { "X-CSRFToken": window.redys.csrfToken(), "Tus-Resumable": "1.0.0" },
  });
}
