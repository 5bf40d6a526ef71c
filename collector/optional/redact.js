// Removes personal data from texts that the optional modules record.

const EMAIL = /[^\s/?&=#,;:<>"()]+(@|%40)[^\s/?&=#,;:<>"()]+\.[^\s/?&=#,;:<>"()]+/gi;
const NUMBER = /\+?\d([\s().\u2010-\u2015-]*\d){6,}/g; // seven digits or more, as telephone and card numbers are written

/** Returns the text with e-mail addresses and long numbers masked, cut to `length` characters. */
export const redact = (text, length) =>
  [...String(text).replace(EMAIL, '***').replace(NUMBER, '***').replace(/\s+/g, ' ').trim()].slice(0, length).join('');
