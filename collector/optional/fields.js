// Optional module (`data-form-fields`, `data-hash-email`): adds values of the listed fields, and the SHA-256 of the e-mail
// address, to form_submit and form_error. Values are noted while the visitor types: Tilda empties a form before it reports
// that the form was sent.

window.tildaAnalytics.extend((_record, listen, options, beforeRecord, whenForgotten) => {
  const names = (options.formFields || '').split(/[\s,]+/).filter(Boolean);
  const states = new Map(); // { fields, identity } of each form begun and not yet sent

  const hashEmail = async (field, state) => {
    const { value } = field;
    const bytes = new TextEncoder().encode(value.trim().toLowerCase());
    const hash = await crypto.subtle.digest('SHA-256', bytes);
    const hex = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
    if (field.value === value) state.identity = { email_sha256: hex };
  };

  const note = (field) => {
    const { form, type, name } = field;
    if (!form || type === 'hidden') return;
    const state = states.get(form) || {};
    states.set(form, state);
    if (names.includes(name)) {
      state.fields = { ...state.fields, [name]: type === 'checkbox' ? field.checked : field.value };
    }
    if ('hashEmail' in options && (type === 'email' || /^e-?mail$/i.test(name)))
      hashEmail(field, state).catch(() => {});
  };

  /** Returns true if the visitor has changed the field since the page loaded. */
  const isChanged = (field) => {
    if (!field.options) return field.value !== field.defaultValue || field.checked !== field.defaultChecked;
    const initial = [...field.options].findIndex((option) => option.defaultSelected);
    return field.selectedIndex !== Math.max(initial, 0);
  };

  // Fields that the visitor filled before this module had loaded.
  document.querySelectorAll('input,textarea,select').forEach((field) => isChanged(field) && note(field));
  listen('input change', ({ target }) => note(target));
  whenForgotten.push(() => states.clear());
  beforeRecord.push(({ event_type, payload }, form) => {
    if (!/^form_(submit|error)$/.test(event_type)) return;
    const { fields, identity } = states.get(form) || {};
    payload.form.fields = fields;
    payload.identity = identity;
    if (event_type === 'form_submit') states.delete(form);
  });
});
