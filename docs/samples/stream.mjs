// Reads the Redis stream of offhook in a consumer group of its own.
//
//     OFFHOOK_REDIS=127.0.0.1:6379 node stream.mjs shop worker-1
//
// With the path of a socket in place of host and port it reads from there. An entry comes at least once, before offhook
// has thrown out duplicates, and may come before it is in the tables.

import { connect } from 'node:net';
import { argv, env } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

const address = env.OFFHOOK_REDIS ?? '127.0.0.1:6379';
const STREAM = env.OFFHOOK_STREAM ?? 'offhook:events';
const [GROUP, CONSUMER] = argv.slice(2);

// Your work. It must accept an event that it has seen: `account` and `key` name it.
async function work(event) {
  console.log(JSON.stringify(event));
}

// The fields of an entry by name, with `params` for what Twilio sent. An empty field has no value.
function eventOf(fields) {
  const event = {};
  for (let at = 0; at < fields.length; at += 2) event[fields[at]] = fields[at + 1].toString() || null;
  event.params = event.format === 'form'
    ? Object.fromEntries(new URLSearchParams(event.body ?? ''))
    : JSON.parse(event.body);
  return event;
}

// As much of the protocol as is needed: one command at a time.
class Redis {
  constructor() {
    const at = address.lastIndexOf(':');
    this.socket = address.includes('/')
      ? connect(address)
      : connect({ host: address.slice(0, at), port: address.slice(at + 1) });
    this.bytes = Buffer.alloc(0);
    this.socket.on('data', (bytes) => {
      this.bytes = Buffer.concat([this.bytes, bytes]);
      this.wake?.();
    });
    this.socket.on('close', () => {
      this.closed = true;
      this.wake?.();
    });
    this.socket.on('error', (error) => console.error(`Redis does not answer: ${error.message}`));
  }

  async command(...words) {
    const parts = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`);
    this.socket.write(`*${words.length}\r\n${parts.join('')}`);
    const answer = await this.answer();
    if (answer instanceof Error) throw answer;
    return answer;
  }

  async line() {
    let end;
    while ((end = this.bytes.indexOf('\r\n')) < 0) await this.more();
    return this.take(end, 2).toString();
  }

  async more() {
    if (this.closed) throw new Gone();
    await new Promise((resolve) => { this.wake = resolve; });
  }

  take(length, after) {
    const taken = this.bytes.subarray(0, length);
    this.bytes = this.bytes.subarray(length + after);
    return taken;
  }

  async answer() {
    const line = await this.line();
    const rest = line.slice(1);
    switch (line[0]) {
      case '+': return rest;
      case '-': return new Error(rest);
      case ':': return Number(rest);
    }
    const length = Number(rest);
    if (length < 0) return null;
    if (line[0] === '$') {
      while (this.bytes.length < length + 2) await this.more();
      return this.take(length, 2);
    }
    const list = [];
    for (let n = 0; n < length; n += 1) list.push(await this.answer());
    return list;
  }
}

class Gone extends Error {}

async function follow(redis) {
  try {
    // 0 begins with the oldest entry that is there, $ with the next one.
    await redis.command('XGROUP', 'CREATE', STREAM, GROUP, '0', 'MKSTREAM');
  } catch (error) {
    if (!error.message.startsWith('BUSYGROUP')) throw error;
  }
  // First what this consumer was given before a crash; once there is no more of that, what is new.
  let behind = '0';
  let looked = 0;
  for (;;) {
    if (Date.now() - looked > 60_000) {
      // What another consumer has held for a minute: it died.
      await redis.command('XAUTOCLAIM', STREAM, GROUP, CONSUMER, 60_000, '0-0', 'COUNT', 100, 'JUSTID');
      behind = '0';
      looked = Date.now();
    }
    const found = await redis.command('XREADGROUP', 'GROUP', GROUP, CONSUMER, 'COUNT', 100, 'BLOCK', 5000,
      'STREAMS', STREAM, behind);
    const entries = found ? found[0][1] : [];
    for (const [id, fields] of entries) {
      // A deleted entry has no fields, and an entry of another program has no key.
      if (fields?.some((field, at) => at % 2 === 0 && String(field) === 'key')) await work(eventOf(fields));
      await redis.command('XACK', STREAM, GROUP, id);
    }
    if (behind !== '>' && entries.length === 0) behind = '>';
  }
}

for (;;) {
  try {
    await follow(new Redis());
  } catch (error) {
    if (!(error instanceof Gone)) throw error;
    await sleep(1000);
  }
}
