// The script tag, its options, and helpers that keep the collector's errors away from the page.
// The build wraps all modules in one function: `SETTINGS` is its argument, `window` and `document` are its variables.

export const { location, history, navigator, performance } = window;

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;

export const script = document.currentScript || document.querySelector('script[data-site-key]');

const { dataset, src } = script || {};

/** The site's settings, overridden by the `data-…` attributes of the script tag. All values are strings. */
export const options = { ...SETTINGS, ...dataset };

export const { siteKey } = options;

/** The URL of a file or path of the API. Without `data-endpoint` the API is the origin of this script. */
export const endpoint = (options.endpoint || new URL(src, location.href).origin).replace(/\/+$/, '');

const isDebugged = 'debug' in options;

export const log = (...words) => isDebugged && console.debug('[tilda-analytics]', ...words);

/** Returns the result of the call, or undefined if it throws (storage denied, a sandboxed frame, a bug of ours). */
export const attempt = (call) => {
  try {
    return call();
  } catch (error) {
    log(error);
  }
};

/** Returns the function with its errors caught. Every entry point from the page goes through it. */
export const safely =
  (run) =>
  (...args) =>
    attempt(() => run(...args));

/** Calls every function of a list that features add to. An error in one does not keep the others from running. */
export const runAll = (runs, ...args) => runs.forEach((run) => safely(run)(...args));

/**
 * Listens on the window in the capture phase: the handler runs before those of the page, which may stop propagation.
 * The listener is passive, because the collector never prevents a default action.
 */
export const listenAlways = (types, handler) =>
  types.split(' ').forEach((type) => window.addEventListener(type, safely(handler), { capture: true, passive: true }));

export const later = (run, milliseconds) => setTimeout(safely(run), milliseconds);

/** Returns a random UUID. Pages without HTTPS have no `crypto.randomUUID`. */
export const uuid = () =>
  '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
    (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16),
  );

/** Returns the first code points of the text. Half of a surrogate pair would make the event invalid. */
export const cut = (text, length) => [...text].slice(0, length).join('');

/** Returns the words of an option that is a list. */
export const listOf = (option) => (option || '').split(/[\s,]+/).filter(Boolean);

/** Returns true if the host is the domain or one of its subdomains. */
export const within = (host, domain) => ('.' + host).endsWith('.' + domain);

/** The site's own domain: links and referrers of its subdomains are internal. */
export const siteDomain = (options.cookieDomain || location.hostname).replace(/^(\.|www\.)/, '');

export const isTopFrame = window.top === window;
