// Every click: its place, the element's selector and text.

import { attribute, interactive, listenClicks } from '../core/elements.js';
import { record } from '../core/pages.js';
import { sizes } from '../core/screen.js';

const onClick = (origin, { button, pageX, pageY }) => {
  const element = interactive(origin);
  const name = attribute(element.closest('[data-tilda-event-name]'), 'data-tilda-event-name');
  const click = { x: Math.round(pageX), y: Math.round(pageY), button, name };
  record('click', { click, ...sizes }, element);
};

export const install = () => listenClicks(onClick);
