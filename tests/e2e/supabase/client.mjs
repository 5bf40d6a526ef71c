// Sends the requests of a website with @supabase/supabase-js and its public key. Arguments: URL, key, events as JSON.
// Prints one line of JSON: the response that the client received at each step.
import { createClient } from '@supabase/supabase-js';

const [url, key, text] = process.argv.slice(2);
const events = JSON.parse(text);
const client = createClient(url, key, { auth: { persistSession: false }, realtime: { transport: class {} } });
const seen = ({ error, status, data }) => ({ status, data, code: error && error.code, message: error && error.message });

const session = '5e551011-0000-4000-8000-000000000001';
const table = () => client.from('events');
const steps = {
  insertOne: () => table().insert(events[0]),
  insertMany: () => table().insert(events.slice(1, 4)),
  insertAgain: () => table().insert(events[0]),
  upsertIgnoring: () => table().upsert(events.slice(3, 5), { onConflict: 'event_id', ignoreDuplicates: true }),
  upsertMerging: () => table().upsert(events.slice(4, 6), { onConflict: 'event_id' }),
  insertBad: () => table().insert([events[6], { ...events[7], event_type: 'click', payload: { click: 1 } }]),
  insertUnknownColumn: () => table().insert({ ...events[6], colour: 'red' }),
  insertOtherSite: () => table().insert({ ...events[6], site_id: 'somebody-else' }),
  insertReturning: () => table().insert(events[6]).select(),
  read: () => table().select(),
  insertUsers: () => client.from('users').insert([{ user_id: 'supabase-1' }, { user_id: 'supabase-2' }]),
  upsertUser: () => client.from('users').upsert({ user_id: 'supabase-1', first_seen_at: '1999-01-01' }),
  insertUserTwice: () => client.from('users').insert({ user_id: 'supabase-1' }),
  insertNamelessUser: () => client.from('users').insert({ first_seen_at: new Date().toISOString() }),
  insertSession: () => client.from('sessions').insert({ session_id: session, user_id: 'supabase-1', os: 'Linux' }),
  upsertSession: () => client.from('sessions').upsert(
    { session_id: session, user_id: 'supabase-2', browser: 'Firefox', os: 'Windows' }, { onConflict: 'session_id' },
  ),
  insertBadSession: () => client.from('sessions').insert([{ session_id: crypto.randomUUID() }, { session_id: 'x' }]),
  insertUnknownSessionColumn: () => client.from('sessions').insert({ session_id: session, colour: 'red' }),
  readSessions: () => client.from('sessions').select(),
};
const results = {};
for (const [name, step] of Object.entries(steps)) results[name] = seen(await step());
const stranger = createClient(url, 'no-such-key', { auth: { persistSession: false }, realtime: { transport: class {} } });
results.stranger = seen(await stranger.from('events').insert(events[6]));
console.log(JSON.stringify(results));
