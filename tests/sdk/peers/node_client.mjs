#!/usr/bin/env node
// The client of the conformance suite, with the Node kit: node_client.mjs INFO.
import { createInterface } from 'node:readline';
import { connect, IpcmError } from '../../../sdk/node/lib/index.js';

let bus;
const tell = (value) => { process.stdout.write(`${JSON.stringify(value)}\n`); };

const orders = {
  async connect({ name }) {
    bus = await connect({ name, bus: process.argv[2] });
    bus.on('message', ({ from, content, broadcast }) => tell({ message: { from, content, broadcast } }));
    return bus.name;
  },
  request: ({ to, content = null, timeout }) => bus.request(to, content, { timeout }),
  async large({ to, size }) {
    const value = '0123456789abcdef'.repeat(size / 16);
    return await bus.request(to, { do: 'echo', value }) === value;
  },
  async send({ to, content }) {
    await bus.send(to, content);
    return true;
  },
  async broadcast({ content }) {
    await bus.broadcast(content);
    return true;
  },
  peers: () => bus.peers(),
  async watch() {
    bus.on('peers', (delta) => {
      for (const [peer, change] of Object.entries(delta)) tell({ event: change > 0 ? 'join' : 'leave', peer });
    });
    await bus.watch();
    return true;
  },
  async leave() {
    await bus?.close();
    return true;
  },
};

async function obey({ op, tag, ...more }) {
  if (!orders[op]) return tell({ tag, error: 'unsupported', text: op });
  try {
    tell({ tag, ok: (await orders[op](more)) ?? null });
  } catch (error) {
    if (!(error instanceof IpcmError)) throw error;
    tell({ tag, error: error.name, text: error.message });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const done = obey(order);
  if (['connect', 'leave', 'watch', 'send'].includes(order.op)) await done; // what follows begins after it
  if (order.op === 'leave') break;
}
process.stdin.destroy();
