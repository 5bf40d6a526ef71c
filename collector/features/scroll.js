// How deep the visitor scrolls, in per cent of the page.

import { listen } from '../core/consent.js';
import { later } from '../core/environment.js';
import { beforeLeave, record, timing, whenOpened } from '../core/pages.js';
import { look, scrolled, sizes } from '../core/screen.js';

const STEP = 10; // per cent of the page between two events
const PAUSE = 200; // ms without movement before an event

let deepest = 0; // the lowest point of the page that has been on the screen, in CSS pixels
let reported = 0;
let timer;

/** Returns the depth in per cent of the page as it is now: pages grow while they load. */
const depth = () => {
  deepest = Math.max(deepest, scrolled + sizes.viewport.height);
  return Math.min(Math.round((deepest / sizes.page.height) * 100), 100) || 0;
};

const report = () => {
  const scrollPercent = depth();
  if (scrollPercent < reported + STEP && (scrollPercent < 100 || reported === 100)) return;
  reported = scrollPercent;
  record('scroll', { scroll: { scrollPercent }, timing: timing(), ...sizes });
};

const onScroll = () => {
  look();
  depth();
  clearTimeout(timer);
  timer = later(report, PAUSE);
};

export const install = () => {
  listen('scroll', onScroll);
  whenOpened.push(() => {
    deepest = reported = 0;
  });
  beforeLeave.push((sections) => {
    sections.scroll = { scrollPercent: depth() };
  });
};
