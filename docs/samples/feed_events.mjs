// Follows the change feed of offhook by server-sent events.
//
//     OFFHOOK_URL=http://127.0.0.1:8081 OFFHOOK_TOKEN=… node feed_events.mjs cursor.txt
//
// The read token is enough. Nothing is lost over a restart of either side. After a crash, what was being worked on
// comes again.

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { argv, env, exit } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

const URL = env.OFFHOOK_URL ?? 'http://127.0.0.1:8081';
const file = argv[2];

// Your work. It must accept a change that it has seen; `id` identifies it.
async function work(change) {
  console.log(JSON.stringify(change));
}

// Each event with its id and its data, until the stream ends, as it does now and then.
async function* events(after) {
  const headers = {};
  if (after) headers['last-event-id'] = after;
  if (env.OFFHOOK_TOKEN) headers.authorization = `Bearer ${env.OFFHOOK_TOKEN}`;
  const answer = await fetch(`${URL}/api/changes/events`, { headers });
  if (answer.status >= 400 && answer.status < 500) {
    // 410: what follows the cursor is not there any more. The answer says what to do.
    console.error(`${answer.status} for the cursor '${after}': ${await answer.text()}`);
    exit(1);
  }
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  let rest = '';
  for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + text).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split('\n')) {
        const at = line.indexOf(':');
        // A line that begins with a colon is a comment.
        if (at > 0) event[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, '');
      }
      yield event;
    }
  }
}

// Replaces the file as a whole: a crash leaves the old one or the new one.
function keep(cursor) {
  writeFileSync(`${file}.new`, cursor);
  renameSync(`${file}.new`, file);
}

// Without an id it begins with the oldest change that is kept.
let cursor = existsSync(file) ? readFileSync(file, 'utf8') : '';
let wait = 500;
for (;;) {
  try {
    for await (const { id, data } of events(cursor)) {
      wait = 500;
      // One without data only says where to go on.
      if (data) await work(JSON.parse(data));
      if (id && id !== cursor) {
        cursor = id;
        keep(cursor);
      }
    }
  } catch (error) {
    console.error(`offhook does not answer: ${error}`);
  }
  await sleep(wait);
  wait = Math.min(2 * wait, 30_000);
}
