// Usage: node contacts.js <gRPC host:port> <HTTP address> <port of the gateway> <protos folder> <keys folder>
// Fills a running Contacts over HTTP as the gateway would, then asks it over gRPC. Prints as conformance.js does.
import http from 'node:http';
import { credentials, loadPackageDefinition, Metadata } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { publicKey, token } from './tokens.js';

const [grpcAddress, httpAddress, gatewayPort, protos, keys] = process.argv.slice(2);
const definition = loadSync('crm/contacts/v1/contacts.proto', { includeDirs: [protos], longs: Number, defaults: true, keepCase: true });
const { Contacts } = loadPackageDefinition(definition).crm.contacts.v1;
const contacts = new Contacts(grpcAddress, credentials.createInsecure());
const own = token(keys, 'interactions');
const user = scope => token(keys, 'gateway', { subject: 'key_test', scope });

const readable = metadata => Object.fromEntries(Object.entries(metadata?.getMap?.() ?? {}));
const authorized = bearer => { const metadata = new Metadata(); metadata.set('authorization', `Bearer ${bearer}`); return metadata; };
const failure = error => ({ code: error.code, detail: error.details, trailers: readable(error.metadata) });

const unary = (method, request, bearer = own) => new Promise(resolve => contacts[method](
  request, authorized(bearer), { deadline: Date.now() + 20000 }, (error, reply) => resolve(error ? failure(error) : { code: 0, reply })));

const stream = (request, bearer = own) => new Promise(resolve => {
  const records = [];
  const call = contacts.StreamCustomers(request, authorized(bearer), { deadline: Date.now() + 60000 });
  call.on('data', record => records.push(record));
  call.on('error', error => resolve(failure(error)));
  call.on('end', () => resolve({ code: 0, records }));
});

async function send(method, path, body) {
  const response = await fetch(new URL(path, httpAddress), {
    method,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${user('customers:read customers:write consents:read consents:write')}` },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

// What the gateway publishes; the rest of it is not needed here.
const gateway = http.createServer((_, response) => response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [publicKey(keys, 'gateway')] })));
await new Promise(resolve => gateway.listen(Number(gatewayPort), '127.0.0.1', resolve));

const ada = await send('POST', '/v1/customers', {
  kind: 'person', given_name: 'Ada', family_name: 'Byron', birth_date: '1815-12-10', locale: 'en-GB', time_zone: 'Europe/London',
  emails: [{ address: 'ada@example.com', type: 'work', primary: true }], phones: [{ number: '+442079460000', type: 'mobile' }],
  addresses: [{ lines: ["12 St James's Sq"], city: 'London', postal_code: 'SW1Y 4JH', country: 'GB' }],
  external_ids: [{ system: 'shop', id: '4711' }], attributes: { newsletter_topic: 'maths' }, source: { type: 'enquiry' },
});
const twin = await send('POST', '/v1/customers?allow_duplicate=true&reason=twins', {
  kind: 'person', given_name: 'Zoë', family_name: 'Łoś', emails: [{ address: 'shared@example.com', type: 'work', primary: true }], source: { type: 'enquiry' },
});
await send('POST', '/v1/customers?allow_duplicate=true&reason=twins', {
  kind: 'person', given_name: 'Ida', family_name: 'Łoś', emails: [{ address: 'shared@example.com', type: 'work', primary: true }], source: { type: 'enquiry' },
});
await send('POST', `/v1/customers/${ada.id}/consents`, {
  channel: 'email', purpose: 'marketing', state: 'granted', legal_basis: 'consent', source: 'form', wording: 'Yes, write to me.', at: '2026-01-02T03:04:05Z',
});
// More than the service reads at once.
let next = 0;
await Promise.all(Array.from({ length: 8 }, async () => {
  while (next < 600) {
    const i = next++;
    await send('PUT', `/v1/customers/by-external-id/load/${i}`, { kind: 'organization', name: `Organization ${i}`, source: { type: 'import' } });
  }
}));

const cases = {
  get: () => unary('GetCustomer', { id: ada.id }),
  'get nobody': () => unary('GetCustomer', { id: 'cus_' + '0'.repeat(26) }),
  'get no id': () => unary('GetCustomer', { id: 'ord_1' }),
  'resolve e-mail': () => unary('ResolveCustomer', { email: 'ADA@example.com' }),
  'resolve phone': () => unary('ResolveCustomer', { phone: '+44 20 7946 0000' }),
  'resolve external id': () => unary('ResolveCustomer', { external_id: { system: 'shop', id: '4711' } }),
  'resolve id': () => unary('ResolveCustomer', { id: ada.id }),
  'resolve nobody': () => unary('ResolveCustomer', { email: 'nobody@example.com' }),
  'resolve several': () => unary('ResolveCustomer', { email: 'shared@example.com' }),
  'resolve nothing': () => unary('ResolveCustomer', {}),
  'other script': () => unary('GetCustomer', { id: twin.id }),
  stream: async () => {
    const { code, records, ...rest } = await stream({});
    const ids = (records ?? []).map(r => r.customer.id);
    return {
      code, ...rest, count: ids.length, inOrder: ids.every((id, i) => i === 0 || ids[i - 1] < id),
      consents: (records ?? []).filter(r => r.customer.id === ada.id).flatMap(r => r.consents),
    };
  },
  'stream resumed': async () => {
    const all = (await stream({})).records.map(r => r.customer.id);
    const rest = (await stream({ after: all[549] })).records.map(r => r.customer.id);
    return { code: 0, same: JSON.stringify(rest) === JSON.stringify(all.slice(550)), count: rest.length };
  },
  'stream after no id': () => stream({ after: 'nonsense' }),
  'get by a user': () => unary('GetCustomer', { id: ada.id }, user('customers:read')),
  'get by a user without the scope': () => unary('GetCustomer', { id: ada.id }, user('cases:read')),
  'stream by a user': () => stream({}, user('customers:read')),
};

for (const [name, run] of Object.entries(cases)) {
  let result;
  try {
    result = await run();
  } catch (error) {
    result = { error: String(error.stack ?? error) };
  }
  console.log(JSON.stringify({ name, id: ada.id, ...result }));
}
process.exit(0);
