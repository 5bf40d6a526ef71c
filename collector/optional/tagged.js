// Optional module: custom events that elements name, without code. Loaded when the page has such elements.
//   <button data-ta-event="Call" data-ta-prop-place="header">      attributes
//   <div class="ta-event=Call ta-place=header">                    CSS classes, which Tilda lets site owners set; `+` is a space
//   <div class="ta-event--Call ta-place--header">                  the same, for editors that refuse `=`
// The event is recorded when the visitor clicks the element, or sends the form that it is or contains.

window.tildaAnalytics.extend((record, listen) => {
  const TAGGED = '[data-ta-event],[class*="ta-event="],[class*="ta-event--"]';
  const INTERACTIVE = 'a,button,input,select,textarea,label,summary,[role=button],[onclick],.t-btn,.t-submit,.tn-atom';
  const MAX_NAME = 64;
  const MAX_VALUE = 200;
  const MAX_PROPERTIES = 20;

  /** Returns the name of the event and its properties as pairs of name and value. */
  const pairsOf = (element) => {
    const pairs = [...element.classList]
      .map((name) => /^ta-(.+?)(?:=|--)(.+)$/.exec(name))
      .filter(Boolean)
      .map(([, name, value]) => [name, value.replace(/\+/g, ' ')]);
    [...element.attributes].forEach(({ name, value }) => {
      const [, property] = /^data-ta-(?:prop-)?(.+)$/.exec(name) || [];
      if (property) pairs.push([property, value]);
    });
    return pairs;
  };

  const report = (tagged, target) => {
    const pairs = pairsOf(tagged).slice(0, MAX_PROPERTIES + 1);
    const { event, ...custom } = Object.fromEntries(pairs.map(([name, value]) => [name, value.slice(0, MAX_VALUE)]));
    if (event) record(event.slice(0, MAX_NAME), { custom }, target);
  };

  let labelled; // the field of a label that was clicked: the browser clicks it as well

  const onClick = (event) => {
    const element = event.composedPath()[0];
    if (!event.isTrusted || event.button > 1 || !element.closest || element === labelled) return;
    const tagged = element.closest(TAGGED);
    if (!tagged) return;
    const target = element.closest(INTERACTIVE);
    labelled = target ? target.control : undefined;
    setTimeout(() => {
      labelled = undefined;
    }, 0);
    const form = element.closest('form');
    if (form && form.closest(TAGGED) === tagged) return; // counts when it is sent
    const isInside = target && tagged.contains(target);
    // In a block with links or buttons, a click beside them means nothing.
    if (isInside || !tagged.querySelector(INTERACTIVE)) report(tagged, isInside ? target : tagged);
  };

  const onSubmit = ({ target }) => {
    const tagged = target.closest(TAGGED);
    if (tagged) report(tagged, target);
  };

  listen('click auxclick', onClick);
  // Tilda reports its own forms when its server has taken them.
  listen('submit', (event) => event.target.matches('.js-form-proccess') || onSubmit(event));
  listen('tildaform:aftersuccess', onSubmit);
});
