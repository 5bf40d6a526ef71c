// What may leave the page: URLs without personal data, text without e-mail addresses and long numbers, and events that
// the page's own function has let pass.

import { isCampaign } from './campaign.js';
import { attempt, cut, listOf, options } from './environment.js';

const HIDDEN = '***';
const EMAIL = /[^\s/?&=#,;:<>"()@]{1,64}(@|%40)[^\s/?&=#,;:<>"()@]+\.[^\s/?&=#,;:<>"()@]+/gi; // bounded: linear time
// Seven digits or more, with the separators of telephone and card numbers, but not prices: "1 990 000 ₽".
const NUMBER = /\+?\d([\s().\u2010-\u2015-]*\d){6,}(?![\s().\u2010-\u2015-]*\d|\s?[₽$€])/g;
// In paths, IDs are up to 12 digits long: /tproduct/500391223-857382911231-boots.
const PATH_NUMBER = /(\+|%2B)\d{7,}|\d{13,}/gi;

/** Returns text of the page, if there is any, with e-mail addresses and numbers of seven digits or more masked. */
export const redact = (text) => text && text.replace(EMAIL, HIDDEN).replace(NUMBER, HIDDEN);

/** Returns true if `data-query` lists the parameter. */
export const isListed = (name) => listOf(options.query).includes(name);

/**
 * Returns the URL with campaign parameters and those that `data-query` lists, and with the fragment under `data-hash`.
 * Of `tel:`, `mailto:` and the like only the scheme is left.
 */
export const address = (href, isKept = (name) => isCampaign(name) || isListed(name)) => {
  const [, path, query, hash] = /^([^?#]*)\??([^#]*)(.*)/.exec(href);
  if (!/^(http|android|$)/.test(path)) return href.replace(/:.*/, ':');
  const kept = query
    .split('&')
    .filter((parameter) => isKept(parameter.split('=')[0]))
    .join('&');
  const fragment = 'hash' in options ? hash.replace(/[?=].*/, '') : '';
  return cut((path.replace(PATH_NUMBER, HIDDEN) + (kept && '?' + kept) + fragment).replace(EMAIL, HIDDEN), 2000);
};

/**
 * Returns the event as it may be sent, or undefined. The function that `data-before-send` names gets a copy: it may change
 * the copy, return another event, or drop the event with null or false; an error in it drops nothing.
 */
export const cleared = (event) => {
  const change = window[options.beforeSend];
  if (!change) return event;
  const copy = JSON.parse(JSON.stringify(event));
  const answer = attempt(() => change(copy));
  if (answer !== null && answer !== false) return answer && answer.event_type ? answer : copy;
};
