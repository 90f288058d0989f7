// Follows the change feed of offhook by long polls.
//
//     OFFHOOK_URL=http://127.0.0.1:8081 OFFHOOK_TOKEN=… node feed_poll.mjs cursor.txt
//
// The read token is enough. Nothing is lost over a restart of either side. After a crash, what was being worked on
// comes again.

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { argv, env, exit } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

const URL = env.OFFHOOK_URL ?? 'http://127.0.0.1:8081';
const headers = env.OFFHOOK_TOKEN ? { authorization: `Bearer ${env.OFFHOOK_TOKEN}` } : {};
const file = argv[2];

// Your work. It must accept a change that it has seen; `id` identifies it.
async function work(change) {
  console.log(JSON.stringify(change));
}

// What was stored behind the cursor. The answer waits until there is something, 30 s at most.
async function page(after) {
  const query = new URLSearchParams({ after, limit: 500, wait: 30 });
  const answer = await fetch(`${URL}/api/changes?${query}`, { headers, signal: AbortSignal.timeout(45_000) });
  if (answer.status >= 400 && answer.status < 500) {
    // 410: what follows the cursor is not there any more. The answer says what to do.
    console.error(`${answer.status} for the cursor '${after}': ${await answer.text()}`);
    exit(1);
  }
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

// Replaces the file as a whole: a crash leaves the old one or the new one.
function keep(cursor) {
  writeFileSync(`${file}.new`, cursor);
  renameSync(`${file}.new`, file);
}

// An empty cursor begins with the oldest change that is kept, `now` with the next one.
let cursor = existsSync(file) ? readFileSync(file, 'utf8') : '';
let wait = 500;
for (;;) {
  let found;
  try {
    found = await page(cursor);
  } catch (error) {
    console.error(`offhook does not answer: ${error}`);
    await sleep(wait);
    wait = Math.min(2 * wait, 30_000);
    continue;
  }
  wait = 500;
  for (const change of found.changes) await work(change);
  if (found.next !== cursor) {
    cursor = found.next;
    keep(cursor);
  }
}
