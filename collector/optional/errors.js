// Optional module (`data-errors`): JavaScript errors of the page, as events `error` with {name, message, source}. Errors that
// differ only in numbers or were thrown at the same place are one group, which a page reports once; at most five groups a
// page. `data-errors="0.1"` observes a tenth of the pages.

import { redact } from './redact.js';

window.tildaAnalytics.extend((record, listen, options) => {
  const MAX_GROUPS = 5;
  const MAX_MESSAGE = 200;
  const MAX_SOURCE = 300;
  const groups = new Set();

  /** Returns path and line of a URL of the page's origin, and host, path and line of another; no query. */
  const place = (url, line) => {
    const { origin, host, pathname } = new URL(url, window.location.href);
    return redact((origin === window.location.origin ? '' : host) + pathname, MAX_SOURCE) + (line ? `:${line}` : '');
  };

  /** Returns the frames of a stack as [URL, line]. Every browser writes URL:line:column, at the end or in brackets. */
  const framesOf = (stack) => [...String(stack || '').matchAll(/(https?:\/\/[^\s()]+?):(\d+)(?::\d+)?(?=\s|\)|$)/g)];

  /** Returns the first frame of the page's own scripts, or the first frame, or the place that the event names. */
  const sourceOf = ({ stack }, { filename, lineno }) => {
    const frames = framesOf(stack);
    const [, url = filename, line = lineno] =
      frames.find(([, address]) => address.startsWith(window.location.origin + '/')) || frames[0] || [];
    return url ? place(url, line) : undefined;
  };

  const onError = (event) => {
    const error = event.type === 'error' ? event.error : event.reason;
    const text = (error && error.message) || event.message || (error && String(error));
    // A file that fails to load has no message. Browsers say only "Script error." of scripts from elsewhere.
    if (!text || /^Script error/.test(text)) return;
    if (/-extension:\/\//.test((error && error.stack) || event.filename)) return;
    const message = redact(text, MAX_MESSAGE).replace(/\d+/g, '#');
    const source = sourceOf(error || {}, event);
    const group = `${message} ${source}`;
    if (groups.has(group) || groups.size >= MAX_GROUPS) return;
    groups.add(group);
    record('error', { error: { name: (error && error.name) || undefined, message, source } });
  };

  if (Math.random() < (parseFloat(options.errors) || 1)) listen('error unhandledrejection', onError);
});
