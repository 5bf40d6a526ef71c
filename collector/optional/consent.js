// Optional module (`data-consent` is `google`, `tcf` or the name of a function): asks Google's consent mode, a consent
// platform of the IAB, or the page for consent.

const FIRST_WAIT = 100; // milliseconds until something that does not exist yet is looked for again

window.tildaAnalytics.extend((_record, _listen, options, _beforeRecord, _whenForgotten, _beforeLeave, answer) => {
  /**
   * Google's consent mode: commands in the data layer, `gtag('consent', 'default' | 'update', {analytics_storage})`.
   * https://developers.google.com/tag-platform/security/guides/consent
   * An update wins over all defaults. The region of the visitor is unknown here: a default for some regions counts only
   * if it denies.
   */
  const askGoogle = () => {
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
      answer(updated === undefined ? byDefault : updated);
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
  };

  /**
   * IAB TCF 2.2 and later: `__tcfapi('addEventListener', 2, callback)`.
   * https://github.com/InteractiveAdvertisingBureau/GDPR-Transparency-and-Consent-Framework (CMP API v2)
   * Needs consent to purposes 1 (storage) and 8 (measuring content), and if the platform reports consents to the
   * publisher, the site itself, there as well. While the platform asks, the last answer stays.
   */
  const askPlatform = () => {
    const isGranted = (consents) => Boolean(consents && consents[1] && consents[8]);
    const read = (data, success) => {
      if (!success) return;
      const { gdprApplies, eventStatus, purpose, publisher } = data;
      const own = (publisher && publisher.consents) || {};
      if (gdprApplies === false) answer(true);
      else if (/^(tcloaded|useractioncomplete)$/.test(eventStatus))
        answer(isGranted(purpose && purpose.consents) && (!Object.keys(own).length || isGranted(own)));
    };
    const listen = (pause) => {
      if (window.__tcfapi) window.__tcfapi('addEventListener', 2, read);
      else setTimeout(listen, pause, pause * 2);
    };
    listen(FIRST_WAIT);
  };

  /**
   * The function of the page that the mode names. It may return an answer, return a promise, or call back any number of
   * times. Until it exists, waits `pause` ms, then twice as long.
   */
  const askPage = (pause) => {
    const ask = window[options.consent];
    if (!ask) return setTimeout(askPage, pause, pause * 2);
    new Promise((resolve) => resolve(ask(answer))).then(
      (yes) => typeof yes === 'boolean' && answer(yes),
      (error) => 'debug' in options && console.debug('[tilda-analytics]', error),
    );
  };

  if (options.consent === 'google') askGoogle();
  else if (options.consent === 'tcf') askPlatform();
  else askPage(FIRST_WAIT);
});
