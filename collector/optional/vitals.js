// Optional module (`data-web-vitals`): records the values that web-vitals has measured when the page hides, in
// milliseconds (CLS has no unit). A later hiding records them again only if a value has changed. The build puts the library
// in front of this file, as the local variable `webVitals`.

window.tildaAnalytics.extend((record, _listen, _options, _beforeRecord, _whenForgotten, beforeLeave) => {
  const known = {};
  let changed = false;
  const note = ({ name, value }) => {
    const rounded = Math.round(value * 1000) / 1000;
    changed = changed || known[name.toLowerCase()] !== rounded;
    known[name.toLowerCase()] = rounded;
  };
  const report = () => {
    if (changed) record('web_vitals', { web_vitals: known });
    changed = false;
  };
  const { onCLS, onFCP, onINP, onLCP, onTTFB } = webVitals;
  // All changes, so that the values are known when the page is left and go out in the request of page_leave.
  [onCLS, onFCP, onINP, onLCP, onTTFB].forEach((measure) => measure(note, { reportAllChanges: true }));
  beforeLeave.push(report);
});
