// Web storage and cookies.

import { attempt } from './environment.js';

let persistent = true;

/** Chooses whether the browser stores new values; otherwise only the memory of this page keeps them. */
export const persist = (wanted) => {
  persistent = wanted;
};

/** Web storage that keeps values in memory, for this page, if the browser refuses them (denied, quota exceeded). */
const storage = (name) => {
  const memory = {};
  return {
    get: (key) => memory[key] || attempt(() => window[name].getItem(key)),
    set(key, value, always) {
      memory[key] = value;
      attempt(() => {
        if (!persistent && !always) return;
        window[name].setItem(key, value);
        delete memory[key];
      });
    },
    remove(key) {
      delete memory[key];
      attempt(() => window[name].removeItem(key));
    },
    keys: () => Object.keys(memory).concat(attempt(() => Object.keys(window[name])) || []),
  };
};

export const local = storage('localStorage');
export const tab = storage('sessionStorage');

export const readCookie = (name) => attempt(() => (document.cookie.match('(?:^|; )' + name + '=([^;]*)') || [])[1]);
