// Optional module (`data-linker`): links and forms that lead to another domain of the site carry the visitor's ID, as
// `_ta=<visitor ID>.<time in seconds, base 36>`. The page there reads it (early.js) and removes it from the address. Without
// consent, and in cookieless mode, the browser holds no ID and links stay as they are.

window.tildaAnalytics.extend((_record, listen, options) => {
  const PARAMETER = '_ta';
  const USER_ID = 'analytics_user_id';
  const domains = options.linker.split(/[\s,]+/).filter(Boolean);

  const within = (host, domain) => ('.' + host).endsWith('.' + domain);

  const userId = () => {
    const [, id] = document.cookie.match(`(?:^|; )${USER_ID}=([^;]*)`) || [];
    return id || window.localStorage[USER_ID];
  };

  const isLinked = ({ protocol, hostname }) =>
    /^http/.test(protocol) &&
    hostname !== window.location.hostname &&
    domains.some((domain) => within(hostname, domain));

  const mark = () => `${userId()}.${Math.floor(Date.now() / 1000).toString(36)}`;

  /** Lets the change last while the browser follows the link or sends the form: an address that is copied has no ID. */
  const restoreLater = (restore) => setTimeout(restore, 0);

  const onClick = (event) => {
    const link = event.composedPath().find((node) => node.localName === 'a' && node.href);
    if (!link || !userId() || !isLinked(link)) return;
    const before = link.getAttribute('href');
    const url = new URL(link.href);
    url.searchParams.set(PARAMETER, mark());
    link.setAttribute('href', url);
    restoreLater(() => link.setAttribute('href', before));
  };

  const onSubmit = ({ target }) => {
    const action = target.getAttribute('action');
    const url = new URL(action || '', window.location.href);
    if (!userId() || !isLinked(url)) return;
    if (target.method === 'get') {
      // The fields of the form replace the query of the address.
      const field = document.createElement('input');
      Object.assign(field, { type: 'hidden', name: PARAMETER, value: mark() });
      target.append(field);
      restoreLater(() => field.remove());
    } else {
      url.searchParams.set(PARAMETER, mark());
      target.setAttribute('action', url);
      restoreLater(() => target.setAttribute('action', action));
    }
  };

  listen('click auxclick', onClick);
  listen('submit', onSubmit);
});
