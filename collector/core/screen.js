// Sizes and the device: what the server cannot read from the request. The server parses the user agent.

import { navigator } from './environment.js';

// Sizes in CSS pixels, and the scroll position, as of the last layout. Reading them at any other moment would force a
// layout, which on a large page takes far longer than the rest of the collector.
export let sizes;
export let scrolled;

/** Reads sizes and scroll position. Call it only while the layout is fresh: after a frame, on resize or scroll. */
export const look = () => {
  const { scrollWidth, scrollHeight } = document.documentElement;
  sizes = {
    viewport: { width: window.innerWidth, height: window.innerHeight },
    page: { width: scrollWidth, height: scrollHeight },
  };
  scrolled = window.scrollY;
};

export const device = ({ width, height } = window.screen) => ({
  language: navigator.language,
  utc_offset: -new Date().getTimezoneOffset(), // minutes; loading Intl for the zone's name would take 20 ms
  screen: { width, height },
  pixel_ratio: window.devicePixelRatio,
  touch: navigator.maxTouchPoints > 0,
});
