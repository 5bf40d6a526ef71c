// Forms begun, abandoned and sent. Values stay in the page; `optional/fields.js` collects the fields that the site lists.

import { listen, whenForgotten } from '../core/consent.js';
import { attribute } from '../core/elements.js';
import { record, whenEnded } from '../core/pages.js';
import { redact } from '../core/privacy.js';

const touched = new Map(); // forms begun and not yet sent, each with the name of the field last touched
let sent; // Tilda's transaction number of the form sent last, until the visitor fills a field

/** Returns the payload's section about a form. Tilda's number 0 means none. */
export const describe = (form, field) => {
  const { tildaTranId } = form;
  return {
    id: attribute(form, 'id'),
    name: redact(attribute(form.querySelector('[name=tildaspec-formname]'), 'value') || attribute(form, 'name')),
    tranid: /[1-9]/.test(tildaTranId) ? tildaTranId : undefined,
    field,
  };
};

const onField = ({ isTrusted, target }) => {
  const { form, type, name } = target;
  if (!isTrusted || !form || type === 'hidden') return;
  sent = 0;
  if (!touched.has(form)) record('form_start', { form: describe(form) }, form);
  touched.set(form, name || target.id);
};

/** Records that a form was sent or refused. */
export const endForm = (type, form) => {
  if (!form.matches('form')) return;
  const { tildaTranId } = form;
  if (type === 'form_submit') {
    // After a payment in a widget, Tilda reports the form a second time.
    if (sent && (tildaTranId === '0' || tildaTranId === sent)) return;
    sent = tildaTranId;
    touched.delete(form);
  }
  record(type, { form: describe(form) }, form);
};

const reportAbandoned = () => {
  touched.forEach((field, form) => record('form_abandon', { form: describe(form, field) }, form));
  touched.clear();
};

export const install = () => {
  listen('input change', onField);
  // Tilda reports its own forms when its server has taken them.
  listen('submit', ({ isTrusted, target }) => {
    if (isTrusted && !target.matches('.js-form-proccess')) endForm('form_submit', target);
  });
  whenEnded.push(reportAbandoned);
  whenForgotten.push(() => touched.clear());
};
