// Optional module (`data-consent="google"`, `data-consent="tcf"`): reads consent from Google's consent mode or from a
// consent platform of the IAB. The collector calls the function that bears the mode's name, with a callback; after an
// answer in another tab it calls again.

(() => {
  const api = window.tildaAnalytics;
  let answer;
  let last; // the answer so far
  const tell = (wanted) => {
    last = wanted;
    answer(wanted);
  };

  /** Returns a function that calls `watch` once, keeps the newest callback, and repeats the answer so far. */
  const asked = (watch) => (callback) => {
    const isFirst = !answer;
    answer = callback;
    if (isFirst) watch();
    else if (last !== undefined) answer(last);
  };

  /**
   * Google's consent mode: commands in the data layer, `gtag('consent', 'default' | 'update', {analytics_storage})`.
   * https://developers.google.com/tag-platform/security/guides/consent
   * An update wins over all defaults. The region of the visitor is unknown here: a default for some regions counts only
   * if it denies.
   */
  api.google = asked(() => {
    let byDefault;
    let updated;
    const read = (entry) => {
      const [command, kind, state] = Array.from(entry || []);
      const { analytics_storage: storage, region } = state || {};
      if (command !== 'consent' || !storage) return;
      const isGranted = storage === 'granted';
      if (kind === 'update') updated = isGranted;
      else if (kind === 'default' && !(region && isGranted)) byDefault = isGranted && byDefault !== false;
      else return;
      tell(updated === undefined ? byDefault : updated);
    };
    window.dataLayer = window.dataLayer || [];
    const layer = window.dataLayer;
    Array.from(layer).forEach(read);
    const { push } = layer;
    layer.push = function (...entries) {
      const result = push.apply(this, entries);
      entries.forEach(read);
      return result;
    };
  });

  /**
   * IAB TCF 2.2 and later: `__tcfapi('addEventListener', 2, callback)`.
   * https://github.com/InteractiveAdvertisingBureau/GDPR-Transparency-and-Consent-Framework (CMP API v2)
   * Needs consent to purposes 1 (storage) and 8 (measuring content), and if the platform reports consents to the
   * publisher, the site itself, there as well. While the platform asks, the last answer stays.
   */
  api.tcf = asked(() => {
    const isGranted = (consents) => Boolean(consents && consents[1] && consents[8]);
    const read = ({ gdprApplies, eventStatus, purpose, publisher }, success) => {
      if (!success) return;
      const own = (publisher && publisher.consents) || {};
      if (gdprApplies === false) tell(true);
      else if (/^(tcloaded|useractioncomplete)$/.test(eventStatus))
        tell(isGranted(purpose && purpose.consents) && (!Object.keys(own).length || isGranted(own)));
    };
    const listen = (pause) => {
      if (window.__tcfapi) window.__tcfapi('addEventListener', 2, read);
      else setTimeout(listen, pause, pause * 2);
    };
    listen(100);
  });
})();
