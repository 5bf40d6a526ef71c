// What must be known before the first event, and concerns few pages: the page is local, its address carries `ta_ignore` or
// a visitor's ID (`_ta`), or the site sets properties. Only then the module `early` is loaded and waited for.

import { location, options } from '../core/environment.js';
import { load } from '../core/modules.js';

const isLocal = /^(127\..*|.*local(host)?|)$/.test(location.hostname);

/** Calls `open`, after the module if the page needs it. */
export const openAfter = (open) => {
  if ('props' in options || (isLocal && !('localhost' in options)) || /[?&]_?ta[_=]/.test(location.search))
    load('early', open);
  else open();
};
