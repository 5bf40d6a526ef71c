// How deep the visitor scrolls, in per cent of the page.

import { listen } from '../core/consent.js';
import { later } from '../core/environment.js';
import { beforeLeave, record, timing, whenOpened } from '../core/pages.js';
import { look, scrolled, sizes } from '../core/screen.js';

const STEP = 10; // per cent of the page between two events
const PAUSE = 200; // ms without movement before an event

let depth = 0; // the deepest point of the page that has been on the screen
let reported = 0;
let timer;

const measure = () => {
  const seen = Math.round(((scrolled + sizes.viewport.height) / sizes.page.height) * 100);
  depth = Math.max(depth, Math.min(seen, 100) || 0);
};

const onScroll = () => {
  look();
  measure();
  clearTimeout(timer);
  timer = later(() => {
    if (depth < reported + STEP && (depth < 100 || reported === 100)) return;
    reported = depth;
    record('scroll', { scroll: { scrollPercent: depth }, timing: timing(), ...sizes });
  }, PAUSE);
};

export const install = () => {
  listen('scroll', onScroll);
  whenOpened.push(() => {
    depth = reported = 0;
  });
  beforeLeave.push((sections) => {
    measure();
    sections.scroll = { scrollPercent: depth };
  });
};
