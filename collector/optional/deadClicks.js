// Optional module (`data-dead-clicks`): clicks on what looks interactive after which nothing happens for a second, as custom
// events `dead_click`. Something happens when the document changes, scrolls, moves the focus, hides or is left.

window.tildaAnalytics.extend((record, listen) => {
  const PATIENCE = 1000; // milliseconds
  const MAX_EVENTS = 20; // a page
  const INTERACTIVE = 'a,button,summary,[role=button],[onclick],.t-btn,.t-submit';
  const WORKING = 'input,select,textarea,label,option,video,audio,iframe,[contenteditable]'; // they react by themselves

  let count = 0;
  let pending; // ends the watch of the last click

  /** Returns the element that invites the click: a button, a link that leads nowhere, or what shows the pointer of a link. */
  const invitation = (element) => {
    if (element.closest(WORKING)) return undefined;
    const target = element.closest(INTERACTIVE);
    const href = target && target.getAttribute('href');
    // The page that a link leads to may take longer than a second.
    if (href && !/^(#|javascript:)/.test(href)) return undefined;
    return target || (getComputedStyle(element).cursor === 'pointer' ? element : undefined);
  };

  const watch = (target) => {
    const end = () => {
      observer.disconnect();
      clearTimeout(timer);
      pending = undefined;
    };
    const observer = new MutationObserver(end);
    observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    const address = window.location.href;
    const timer = setTimeout(() => {
      end();
      if (window.location.href !== address || count >= MAX_EVENTS) return;
      count++;
      record('dead_click', {}, target);
    }, PATIENCE);
    pending = end;
  };

  listen('click', (event) => {
    const element = event.composedPath()[0];
    if (pending) pending(); // of several clicks on the same place the last one counts
    if (!event.isTrusted || !element.closest) return;
    const target = invitation(element);
    if (target) watch(target);
  });
  listen('scroll focusin focusout input change submit visibilitychange pagehide beforeunload play pause', (event) => {
    if (pending && event.isTrusted) pending();
  });
});
