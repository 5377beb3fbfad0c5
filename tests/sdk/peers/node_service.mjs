#!/usr/bin/env node
// The service of the conformance suite, with the Node kit.
import { EventEmitter, once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { serve } from '../../../sdk/node/lib/index.js';

const held = new Map(), messages = [], seen = new Map();
const changes = new EventEmitter().setMaxListeners(0);

async function until(isSo) {
  while (!isSo()) await once(changes, 'change');
}

const orders = {
  echo: ({ value }) => value,
  fail({ text }) { throw new Error(text); },
  print({ text }) {
    console.log(text);
    console.error(text);
    return true;
  },
  pid: () => process.pid,
  args: (_, service) => (service.args?.big ?? '').length,
  die: () => process.kill(process.pid, 'SIGKILL'),
  async send({ to, content }, service) {
    await service.send(to, content);
    return true;
  },
  async broadcast({ content }, service) {
    await service.broadcast(content);
    return true;
  },
  ask: ({ to, content }, service) => service.request(to, content),
  hold: ({ key }) => new Promise((resolve) => { held.set(key, resolve); }),
  release({ key, value }) {
    held.get(key)?.(value);
    held.delete(key);
    return true;
  },
  async messages({ count }) {
    await until(() => messages.length >= count);
    return messages;
  },
  async saw({ peer, kind }) {
    await until(() => seen.get(peer) === kind);
    return true;
  },
};

serve({
  async start({ args }) {
    if (args?.fail) throw new Error(args.fail);
    if (args?.gate) await readFile(args.gate);
  },
  request({ content }, service) {
    if (!orders[content.do]) throw new Error(`unknown order ${content.do}`);
    return orders[content.do](content, service);
  },
  message({ from, content, broadcast }) {
    messages.push({ from, content, broadcast });
    changes.emit('change');
  },
  peers(delta) {
    for (const [peer, change] of Object.entries(delta)) seen.set(peer, change > 0 ? 'join' : 'leave');
    changes.emit('change');
  },
});
