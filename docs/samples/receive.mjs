// Takes what offhook forwards in the form `standard`, and checks who signed it.
//
//     OFFHOOK_SECRET=whsec_… node receive.mjs 8000

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { argv, env } from 'node:process';

const key = Buffer.from(env.OFFHOOK_SECRET.replace(/^whsec_/, ''), 'base64');
// An older request may be a recorded one that is sent again.
const MAX_AGE_S = 300;
const MAX_BODY = 1 << 20;

// Your work. It must accept an id that it has seen. If it throws, offhook retries later.
async function work(id, change) {
  console.log(JSON.stringify({ ...change, id }));
}

function isSigned(headers, body) {
  const { 'webhook-id': id = '', 'webhook-timestamp': timestamp = '', 'webhook-signature': signed = '' } = headers;
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > MAX_AGE_S) return false;
  const mac = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
  const expected = Buffer.from(`v1,${mac}`);
  // Several while a secret is being changed.
  return signed.split(' ').map((signature) => Buffer.from(signature))
    .some((signature) => signature.length === expected.length && timingSafeEqual(signature, expected));
}

async function bodyOf(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > MAX_BODY) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

const server = createServer(async (request, response) => {
  const answer = (status) => response.writeHead(status).end();
  try {
    const body = await bodyOf(request);
    if (body === null) return answer(413);
    if (!isSigned(request.headers, body)) return answer(401);
    await work(request.headers['webhook-id'], JSON.parse(body).data);
    // Only now: what has a 2xx does not come again.
    answer(204);
  } catch (error) {
    console.error(`not done: ${error}`);
    answer(500);
  }
});
server.listen(Number(argv[2]), '127.0.0.1');
