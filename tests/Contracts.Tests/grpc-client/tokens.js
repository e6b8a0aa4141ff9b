// Service tokens as RFC 7515, 7517, 7518, 7519 and 7638 say, made without any code of the platform.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const encode = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

// The token of a service, signed with keys/<service>.key.
export function token(keys, service, options) {
  return signed(createPrivateKey(readFileSync(join(keys, `${service}.key`))), service, options);
}

// A token that says the same, and even names the trusted key, but is signed with another.
export const forged = (keys, service) => signed(
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, service, { kid: thumbprint(createPrivateKey(readFileSync(join(keys, `${service}.key`)))) });

// The public half of keys/<service>.key, as a JSON Web Key.
export function publicKey(keys, service) {
  const key = createPublicKey(readFileSync(join(keys, `${service}.key`)));
  return { ...key.export({ format: 'jwk' }), kid: thumbprint(key), use: 'sig', alg: 'ES256' };
}

function thumbprint(key) {
  const { crv, kty, x, y } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' });
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
}

function signed(key, service, { expires = 120, subject = `svc:${service}`, scope = '', algorithm = 'ES256', kid = thumbprint(key) } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const head = encode({ alg: algorithm, typ: 'JWT', kid });
  const body = encode({ iss: `crm:${service}`, aud: 'crm', sub: subject, scope, iat: Math.min(now, now + expires), nbf: Math.min(now, now + expires - 1), exp: now + expires });
  const signature = algorithm === 'none' ? '' : sign('sha256', Buffer.from(`${head}.${body}`), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
  return `${head}.${body}.${signature}`;
}
