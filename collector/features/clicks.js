// Every click: its place, the element's selector and text.

import { attribute, interactive, listenClicks } from '../core/elements.js';
import { later } from '../core/environment.js';
import { record } from '../core/pages.js';
import { sizes } from '../core/screen.js';

let labelled; // the field of a label that is being clicked: the browser clicks it too

/** Returns the place of a click. Clicks by keyboard have no place: theirs is the middle of the element. */
const placeOf = (element, { detail, pageX, pageY }) => {
  if (detail) return { x: pageX, y: pageY };
  const { left, top, width, height } = element.getBoundingClientRect();
  return { x: left + window.scrollX + width / 2, y: top + window.scrollY + height / 2 };
};

const onClick = (origin, event) => {
  if (origin === labelled) return;
  const element = interactive(origin);
  labelled = element.control;
  later(() => {
    labelled = undefined;
  });
  const { x, y } = placeOf(element, event);
  const name = attribute(element.closest('[data-tilda-event-name]'), 'data-tilda-event-name');
  const click = { x: Math.round(x), y: Math.round(y), button: event.button, name };
  record('click', { click, ...sizes }, element);
};

export const install = () => listenClicks(onClick);
