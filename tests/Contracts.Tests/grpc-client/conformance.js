// Usage: node conformance.js <host:port> <protos folder> <keys folder>
// Runs every case against the server and prints one JSON line a case: {"name": …, …what was observed}.
// It judges nothing: the tests that start it do.
import http2 from 'node:http2';
import zlib from 'node:zlib';
import { credentials, loadPackageDefinition, Metadata } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { forged, token } from './tokens.js';

const [address, protos, keys] = process.argv.slice(2);
const probe = token(keys, 'probe');
const definition = loadSync('conformance.proto', { includeDirs: [protos], longs: Number, bytes: Buffer, defaults: true });
const { Conformance } = loadPackageDefinition(definition).crm.conformance.v1;
const plain = new Conformance(address, credentials.createInsecure());
const large = { 'grpc.max_receive_message_length': 16 << 20, 'grpc.max_send_message_length': 16 << 20 };
const wide = new Conformance(address, credentials.createInsecure(), large);
const gzip = new Conformance(address, credentials.createInsecure(), { ...large, 'grpc.default_compression_algorithm': 2 });

const readable = metadata => Object.fromEntries(Object.entries(metadata?.getMap?.() ?? {}).map(
  ([key, value]) => [key, Buffer.isBuffer(value) ? value.toString('hex') : value]));
const failure = error => ({ code: error.code, detail: error.details, trailers: readable(error.metadata) });
const authorized = () => { const metadata = new Metadata(); metadata.set('authorization', `Bearer ${probe}`); return metadata; };
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

function unary(client, method, request, { metadata = new Metadata(), options = { deadline: Date.now() + 20000 }, bearer = probe, onCall } = {}) {
  if (bearer) metadata.set('authorization', `Bearer ${bearer}`);
  return new Promise(resolve => {
    const result = {};
    const call = client[method](request, metadata, options, (error, reply) => {
      Object.assign(result, error ? failure(error) : { code: 0, reply });
      // The status comes last and has the trailers.
      if (result.status || error) resolve(result);
    });
    call.on('metadata', headers => { result.headers = readable(headers); });
    call.on('status', status => {
      result.status = true;
      result.trailers = readable(status.metadata);
      if ('code' in result) resolve(result);
    });
    onCall?.(call);
  });
}

function streaming(client, method, request, { options = { deadline: Date.now() + 20000 }, onData } = {}) {
  return new Promise(resolve => {
    const values = [];
    const call = client[method](request, authorized(), options);
    const result = { values };
    call.on('data', message => { values.push(message.value); onData?.(call, values); });
    call.on('error', error => resolve(Object.assign(result, failure(error))));
    call.on('status', status => { if (status.code === 0) resolve(Object.assign(result, { code: 0, trailers: readable(status.metadata) })); });
  });
}

async function observed(id, until) {
  for (let i = 0; i < 100; i++) {
    const { reply } = await unary(plain, 'Observed', { id });
    if (reply?.state !== 'started' && reply?.state !== 'unknown') return reply?.state;
    if (until === reply?.state) return reply.state;
    await sleep(50);
  }
  return 'nothing';
}

// One call in bare HTTP/2, to see what is on the wire below the client library.
function wire(path, headers, message, { compressed = 0 } = {}) {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`http://${address}`);
    session.on('error', reject);
    const stream = session.request({
      ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', authorization: `Bearer ${probe}`, ...headers,
    });
    const result = { frames: [] };
    const chunks = [];
    stream.on('response', h => { result.headers = { ...h }; });
    stream.on('trailers', t => { result.trailers = { ...t }; });
    stream.on('data', chunk => chunks.push(chunk));
    stream.on('error', reject);
    stream.on('end', () => {
      let body = Buffer.concat(chunks);
      while (body.length >= 5) {
        const length = body.readUInt32BE(1);
        result.frames.push({ compressed: body[0], bytes: body.subarray(5, 5 + length) });
        body = body.subarray(5 + length);
      }
      session.close();
      resolve(result);
    });
    const prefix = Buffer.alloc(5);
    prefix[0] = compressed;
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
  });
}

const echo = definition['crm.conformance.v1.Conformance'].Echo;

const cases = {
  unary: () => unary(plain, 'Echo', { text: 'Grüße, 世界' }),

  'server streaming': async () => {
    const result = await streaming(plain, 'Count', { to: 1000 });
    return { ...result, values: result.values.length, inOrder: result.values.every((v, i) => v === i + 1) };
  },

  'client streaming': () => new Promise(resolve => {
    const call = plain.Sum(authorized(), { deadline: Date.now() + 20000 }, (error, reply) => resolve(error ? failure(error) : { code: 0, reply }));
    for (let value = 1; value <= 100; value++) call.write({ value });
    call.end();
  }),

  'bidirectional streaming': () => new Promise(resolve => {
    const replies = [];
    const call = plain.Chat(authorized(), { deadline: Date.now() + 20000 });
    // Each message is sent only after the answer to the one before: both directions are open at once.
    call.on('data', ({ text }) => { replies.push(text); replies.length < 10 ? call.write({ text: `m${replies.length}` }) : call.end(); });
    call.on('error', error => resolve(failure(error)));
    call.on('status', ({ code }) => { if (code === 0) resolve({ code, replies }); });
    call.write({ text: 'm0' });
  }),

  'cancelled unary': async () => {
    const result = await unary(plain, 'Wait', { id: 'unary' }, {
      onCall: async call => { await observed('unary', 'started'); call.cancel(); },
    });
    return { ...result, server: await observed('unary') };
  },

  'cancelled stream': async () => {
    const result = await streaming(plain, 'WaitStreaming', { id: 'stream' }, { onData: call => call.cancel() });
    return { ...result, server: await observed('stream') };
  },

  deadline: async () => {
    const begin = Date.now();
    const result = await unary(plain, 'Wait', { id: 'deadline' }, { options: { deadline: begin + 400 } });
    return { ...result, elapsed: Date.now() - begin, server: await observed('deadline') };
  },

  'deadline on the server': () => unary(plain, 'Echo', {}, { options: { deadline: Date.now() + 10000 } }),

  // The client library would give up by itself; bare HTTP/2 shows that the server does too.
  'deadline without a client': async () => {
    const { headers, trailers } = await wire(
      '/crm.conformance.v1.Conformance/Wait', { 'grpc-timeout': '300m' },
      definition['crm.conformance.v1.Conformance'].Wait.requestSerialize({ id: 'alone' }));
    return { code: Number(trailers?.['grpc-status'] ?? headers?.['grpc-status']), server: await observed('alone') };
  },

  'status with detail': () => unary(plain, 'Fail', { code: 9, detail: 'Nicht möglich: 100 % voll' }),

  // The client library may give the status before the messages that it still holds, so these are counted on the wire.
  'status in the middle of a stream': async () => {
    const request = { code: 10, detail: 'lost the race', after: 3 };
    const method = definition['crm.conformance.v1.Conformance'].FailStreaming;
    const { frames } = await wire('/crm.conformance.v1.Conformance/FailStreaming', {}, method.requestSerialize(request));
    return { ...await streaming(plain, 'FailStreaming', request), values: frames.map(f => method.responseDeserialize(f.bytes).value) };
  },

  'unexpected exception': () => unary(plain, 'Fail', { byException: true, detail: 'password=hunter2' }),

  metadata: () => {
    const metadata = new Metadata();
    metadata.add('x-text', 'value one');
    metadata.add('X-Upper', 'Case');
    metadata.add('x-data-bin', Buffer.from([0, 1, 2, 253, 254, 255]));
    return unary(plain, 'Echo', { text: 'm' }, { metadata });
  },

  'gzip request': async () => {
    const { reply, ...rest } = await unary(gzip, 'Echo', { text: 'squeeze '.repeat(20000) });
    return { ...rest, intact: reply?.text === 'squeeze '.repeat(20000), requestEncoding: reply?.requestEncoding };
  },

  'gzip response': async () => {
    const text = 'squeeze '.repeat(20000);
    const { headers, trailers, frames } = await wire(
      '/crm.conformance.v1.Conformance/Echo', { 'grpc-accept-encoding': 'gzip' }, echo.requestSerialize({ text }));
    const reply = frames.length === 1 && frames[0].compressed ? echo.responseDeserialize(zlib.gunzipSync(frames[0].bytes)) : {};
    return {
      code: Number(trailers['grpc-status']), encoding: headers['grpc-encoding'], compressed: frames[0]?.compressed,
      bytes: frames[0]?.bytes.length, original: text.length, intact: reply.text === text,
    };
  },

  'uncompressed when not asked': async () => {
    const { trailers, frames } = await wire(
      '/crm.conformance.v1.Conformance/Echo', { 'grpc-accept-encoding': 'identity' }, echo.requestSerialize({ text: 'plain '.repeat(1000) }));
    return { code: Number(trailers['grpc-status']), compressed: frames[0]?.compressed };
  },

  'unknown request encoding': async () => {
    const { headers, trailers } = await wire('/crm.conformance.v1.Conformance/Echo', { 'grpc-encoding': 'snappy' }, Buffer.alloc(3), { compressed: 1 });
    const all = { ...headers, ...trailers };
    return { code: Number(all['grpc-status']), accepts: all['grpc-accept-encoding'] };
  },

  '3 MB': async () => {
    const payload = Buffer.alloc(3 << 20, 0).map((_, i) => (i * 31) & 255);
    const { reply, ...rest } = await unary(wide, 'Echo', { payload });
    return { ...rest, intact: reply ? Buffer.compare(reply.payload, payload) === 0 : false };
  },

  'over 4 MB': () => unary(wide, 'Echo', { payload: Buffer.alloc((4 << 20) + 1) }),

  'over 4 MB after decompression': () => unary(gzip, 'Echo', { payload: Buffer.alloc((4 << 20) + 1) }),

  'method not written': () => unary(plain, 'NotWritten', {}),

  'unknown method': async () => {
    const { headers, trailers } = await wire('/crm.conformance.v1.Conformance/Nothing', {}, Buffer.alloc(0));
    const all = { ...headers, ...trailers };
    return { code: Number(all['grpc-status']), http: all[':status'] };
  },

  'unknown service': async () => {
    const { headers, trailers } = await wire('/crm.nobody.v1.Nobody/Echo', {}, Buffer.alloc(0));
    const all = { ...headers, ...trailers };
    return { code: Number(all['grpc-status']), http: all[':status'] };
  },

  'no token': () => unary(plain, 'Echo', {}, { bearer: null }),
  'forged token': () => unary(plain, 'Echo', {}, { bearer: forged(keys, 'probe') }),
  'expired token': () => unary(plain, 'Echo', {}, { bearer: token(keys, 'probe', { expires: -3600 }) }),
  'token in the name of another': () => unary(plain, 'Echo', {}, { bearer: token(keys, 'probe', { subject: 'svc:contacts' }) }),
  'token of a user by a service': () => unary(plain, 'Echo', {}, { bearer: token(keys, 'probe', { subject: 'usr_1', scope: 'customers:read' }) }),
  'token without a signature': () => unary(plain, 'Echo', {}, { bearer: token(keys, 'probe', { algorithm: 'none' }) }),
  'service that may not call': () => unary(plain, 'Echo', {}, { bearer: token(keys, 'stranger') }),
  'malformed message': async () => {
    const { headers, trailers } = await wire('/crm.conformance.v1.Conformance/Echo', {}, Buffer.from([0x0a, 0xff, 0xff, 0xff]));
    const all = { ...headers, ...trailers };
    return { code: Number(all['grpc-status']) };
  },
};

for (const [name, run] of Object.entries(cases)) {
  let result;
  try {
    result = await run();
  } catch (error) {
    result = { error: String(error.stack ?? error) };
  }
  delete result.status;
  if (result.reply?.payload) delete result.reply.payload;
  console.log(JSON.stringify({ name, ...result }));
}
process.exit(0);
