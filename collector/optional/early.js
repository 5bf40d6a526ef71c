// Optional module, loaded before the first event on the few pages that need it: local pages (excluded unless
// `data-localhost`), addresses with `ta_ignore` (exclude this browser) or `_ta` (a visitor from another domain of the site,
// see linker.js), and sites with properties for all events (`data-props`).

window.tildaAnalytics.extend((_record, _listen, options, beforeRecord, whenForgotten) => {
  const CONSENT = 'analytics_consent';
  const IGNORED = 'analytics_ignored';
  const LINK_SECONDS = 120;
  const MAX_PROPERTIES = 20;
  const MAX_LENGTH = 200; // characters of a name or a text

  const { hostname, href, hash } = window.location;
  const query = new URLSearchParams(window.location.search);

  const removeParameters = (...names) => {
    const url = new URL(href);
    names.forEach((name) => url.searchParams.delete(name));
    window.history.replaceState(window.history.state, '', url.pathname + url.search + hash);
  };

  const within = (host, domain) => ('.' + host).endsWith('.' + domain);

  /** The collector treats all addresses as if `data-exclude` listed them. */
  const excludeLocalPage = () => {
    if (/^(127\..*|.*\blocal(host)?|)$/.test(hostname) && !('localhost' in options)) options.exclude = '*';
  };

  /**
   * `?ta_ignore=1` opts this browser out, `?ta_ignore=0` takes that back. The second cannot undo a visitor's own opt-out:
   * anyone may write such a link.
   */
  const readIgnore = () => {
    const wanted = query.get('ta_ignore');
    if (wanted === null) return;
    const storage = window.localStorage;
    if (wanted === '0' && storage[IGNORED]) {
      storage.removeItem(CONSENT);
      storage.removeItem(IGNORED);
    } else if (wanted !== '0' && storage[CONSENT] !== 'never') {
      storage[IGNORED] = 1;
      storage[CONSENT] = 'never';
    }
    removeParameters('ta_ignore');
    const state = storage[IGNORED] ? 'no longer counted on this site' : 'counted on this site';
    console.info(`Tilda Analytics: this browser is ${state}`);
  };

  /**
   * `?_ta=<visitor ID>.<time in seconds, base 36>`. The ID counts if the link is fresh and the page that holds it belongs to a
   * domain of the site, so that nobody else can give a visitor an ID. It is used when the visitor has consented.
   */
  const readLink = () => {
    const link = query.get('_ta');
    if (link === null) return;
    removeParameters('_ta');
    const [, id, time] = /^([\w-]{8,128})\.([0-9a-z]{1,9})$/.exec(link) || [];
    const domains = (options.linker || '').split(/[\s,]+/).filter(Boolean);
    const from = document.referrer && new URL(document.referrer).hostname;
    const age = Date.now() / 1000 - parseInt(time, 36);
    if (!id || Math.abs(age) > LINK_SECONDS || !domains.some((domain) => within(from, domain))) return;
    options.linked = id;
    options.referrerExclusions = [options.referrerExclusions, ...domains].join();
    whenForgotten.push(() => {
      delete options.linked;
    });
  };

  let properties = {};

  /** Returns the properties that may be sent: short texts, numbers, true and false. */
  const bounded = (given) =>
    Object.fromEntries(
      Object.entries(given)
        .filter(([name, value]) => name.length <= MAX_LENGTH && /^(string|number|boolean)$/.test(typeof value))
        .slice(0, MAX_PROPERTIES)
        .map(([name, value]) => [name, typeof value === 'string' ? [...value].slice(0, MAX_LENGTH).join('') : value]),
    );

  const setProperties = (given) => {
    properties = bounded({ ...properties, ...given });
  };

  const openProperties = () => {
    window.tildaAnalytics.setProperties = setProperties;
    beforeRecord.push(({ payload }) => {
      if (Object.keys(properties).length) payload.custom = { ...properties, ...payload.custom };
    });
    if (options.props) setProperties(JSON.parse(options.props));
  };

  const attempt = (run) => {
    try {
      run();
    } catch (error) {
      if ('debug' in options) console.debug('[tilda-analytics]', error);
    }
  };

  [excludeLocalPage, readIgnore, readLink].forEach(attempt);
  if ('props' in options) attempt(openProperties);
});
