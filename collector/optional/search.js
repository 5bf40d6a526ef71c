// Optional module (`data-search="q,query"`): the site's own search, as events `site_search` with {term, results}. The page of
// results has the term in a listed parameter of its address. An element with `data-ta-results="12"` tells the number found.

import { redact } from './redact.js';

window.tildaAnalytics.extend((record, _listen, options, beforeRecord) => {
  const MAX_TERM = 100;
  const names = (options.search || 'q,query,search,s').split(/[\s,]+/).filter(Boolean);

  /** Returns the first listed parameter of a query string. */
  const termOf = (search) => {
    const query = new URLSearchParams(search);
    const term = names.map((name) => query.get(name)).find((value) => value && value.trim());
    return term && redact(term, MAX_TERM);
  };

  // A page that came from the same term is a further page of results, or a reload.
  let last = document.referrer.startsWith(window.location.origin)
    ? termOf(new URL(document.referrer).search)
    : undefined;

  const read = () => {
    const term = termOf(window.location.search);
    const isNew = term && term !== last;
    last = term;
    if (!isNew) return;
    const counter = document.querySelector('[data-ta-results]');
    const results = counter ? parseInt(counter.getAttribute('data-ta-results'), 10) : NaN;
    record('site_search', { site_search: { term, results: results >= 0 ? results : undefined } });
  };

  read();
  beforeRecord.push(read); // pages that change their address without loading
});
