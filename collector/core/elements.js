// Describes elements of the page: a selector and the text that a reader sees.

import { listen } from './consent.js';
import { cut } from './environment.js';
import { redact } from './privacy.js';

const READABLE = 'a,button,label,summary,[role=button],.t-btn,.t-submit'; // other elements show data of visitors
const INTERACTIVE = READABLE + ',input,select,textarea,[onclick],.tn-atom';
const UNREADABLE = 'input,output,select,textarea,script,style,[contenteditable],[data-private]';
const PASSING = /active|hover|focus|open|show|anim/; // classes that come and go
const NAME = /^[a-z][\w-]{0,30}$/i; // IDs and classes that a selector may name
const TEXT_LENGTH = 100;

export const attribute = (element, name) => (element && element.getAttribute(name)) || undefined;

/** Returns the element itself or the interactive element around it. */
export const interactive = (element) => element.closest(INTERACTIVE) || element;

/** Returns a short selector that survives a reload: up to the nearest ID, at most four steps. */
export const selectorOf = (element, steps = 4) => {
  const { classList, localName, parentElement } = element;
  const id = attribute(element, 'id');
  if (id && NAME.test(id)) return '#' + id;
  const names = [...classList].filter((name) => NAME.test(name) && !PASSING.test(name));
  const step = [localName, ...names.slice(0, 2)].join('.');
  return steps > 1 && parentElement ? selectorOf(parentElement, steps - 1) + ' > ' + step : step;
};

/** Returns the visible text of a link, button or label, never typed text; `***` if it is private. */
export const textOf = (element) => {
  const unreadable = element.closest(UNREADABLE);
  if (unreadable) return unreadable.closest('[data-private]') ? '***' : undefined;
  if (!element.matches(READABLE)) return undefined;
  const walker = document.createTreeWalker(element, 4); // NodeFilter.SHOW_TEXT
  let text = '';
  while (text.length < TEXT_LENGTH && walker.nextNode()) {
    const { data, parentElement } = walker.currentNode;
    if (!parentElement.closest(UNREADABLE)) text = (text + ' ' + data).replace(/\s+/g, ' ');
  }
  return cut(redact(text).trim(), TEXT_LENGTH) || undefined;
};

/** Calls `handler(element, event)` for each click of the visitor, left or middle, also inside open shadow trees. */
export const listenClicks = (handler) =>
  listen('click auxclick', (event) => {
    const element = event.composedPath()[0];
    if (event.isTrusted && event.button < 2 && element.closest) handler(element, event);
  });
