import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test as declare } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as kit from 'ipcm';
import { BusError, LaunchError, NameTaken, PeerGone, RemoteError, Timeout, UsageError } from 'ipcm';

const HANG = 60_000 * Number(process.env.IPCM_TEST_PATIENCE ?? 1); // milliseconds; only ends a hang
const command = process.env.IPCM ?? 'ipcm';
const boot = fileURLToPath(new URL('service.mjs', import.meta.url));
const ipcm = (...words) => execFileSync(command, ['--json', ...words], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: HANG });
const test = (name, body) => declare(name, { timeout: HANG }, body);

// An open bus keeps the process alive, so each is closed also after a test that failed.
let open = [];
async function connect(options) {
  const bus = await kit.connect(options);
  open.push(() => bus.close());
  return bus;
}
async function start(name, options) {
  const service = await kit.start(name, { timeout: HANG / 1000, ...options });
  open.push(() => service.stop().catch(() => {})); // it may have ended
  return service;
}
/** Starts a service as a launcher does (docs/boot.md), and resolves to its process when it is ready. */
async function launch(name) {
  const parameters = { ipcm: 1, name, class: 'any', ipcm_info: JSON.parse(process.env.IPCM_INFO) };
  const child = spawn(boot, ['--ready-fd', '3', JSON.stringify(parameters)], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  open.push(() => child.kill('SIGKILL'));
  const [told] = await once(child.stdio[3], 'data');
  assert.equal(JSON.parse(told).ready, true, String(told));
  return child;
}

let folder;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'ipcm-node-'));
  process.env.TMPDIR = process.env.XDG_RUNTIME_DIR = folder;
});
after(() => {
  rmSync(folder, { recursive: true });
  setTimeout(() => process.exit(1), HANG).unref(); // something is still open: that is a failure, not a hang
});

const onBus = (protocol, body, ...options) => describe(protocol, () => {
  beforeEach(() => { process.env.IPCM_INFO = JSON.stringify(JSON.parse(ipcm('bus', 'new', '--protocol', protocol, ...options)).info); });
  afterEach(async () => {
    const closers = open;
    open = [];
    await Promise.all(closers.map((close) => close()));
    ipcm('bus', 'rm');
  });
  body();
});

for (const protocol of ['ConnectionUnix', 'MessageFiles', 'SQLite']) onBus(protocol, () => {
  test('a client asks a service, and a service asks another', async () => {
    const service = await start('any', { name: 's', boot, args: { n: 1 } });
    const echo = await start('echo');
    const bus = await connect({ name: 'me' });
    assert.deepEqual(await service.request([1, 'ä']), { from: await who(service), content: [1, 'ä'] });
    assert.deepEqual(await bus.request('s', null), { from: 'me', content: null });
    assert.deepEqual(await bus.request('s', 'args'), ['any', { n: 1 }]);
    assert.equal(await bus.request('s', { do: 'ask', to: 'echo', content: 'deep' }), 'deep');
    assert.deepEqual((await bus.peers()).filter((name) => !name.startsWith('ipcm-')), ['echo', 's']);
    await service.stop();
    await echo.stop();
    await bus.close();
  });

  test('messages and broadcasts arrive, and peers are seen to join and leave', async () => {
    const a = await connect({ name: 'a' });
    const seen = [];
    a.on('peers', (delta) => seen.push(...Object.entries(delta)));
    await a.watch();
    const joined = once(a, 'peers');
    const b = await connect({ name: 'b' });
    await joined;
    let came = once(b, 'message');
    await a.send('b', 'one');
    assert.deepEqual((await came)[0], { content: 'one', from: 'a', broadcast: false });
    came = once(a, 'message');
    assert.deepEqual((await b.broadcast([2])).sent, ['a']);
    assert.deepEqual((await came)[0], { content: [2], from: 'b', broadcast: true });
    const left = once(a, 'peers');
    await b.close();
    await left;
    assert.deepEqual(seen, [['b', 1], ['b', -1]]);
    await a.close();
  });
});

const who = async (service) => (await service.request('who')).from;

onBus('ConnectionUnix', () => {
  test('each failure is an error of its own class', async () => {
    const service = await start('any', { name: 's', boot });
    const bus = await connect({ name: 'me' });
    await assert.rejects(bus.request('s', 'fail'), (error) => error instanceof RemoteError && error.message === 'it failed on purpose');
    await assert.rejects(bus.request('nobody', 1), PeerGone);
    await assert.rejects(bus.send('nobody', 1), PeerGone);
    await assert.rejects(bus.request('s', 'hold', { timeout: 0.05 }), Timeout);
    await assert.rejects(bus.request('s', undefined), UsageError);
    await assert.rejects(bus.suspend(), BusError);
    await assert.rejects(connect({ name: 's' }), NameTaken);
    await assert.rejects(connect({ bus: ['ConnectionUnix', 'JSON', `${folder}/nosuch`] }), BusError);
    const aborted = bus.request('s', 'hold', { signal: AbortSignal.timeout(20) });
    await assert.rejects(aborted, { name: 'TimeoutError' });
    await assert.rejects(start('any', { name: 'f', boot, args: { fail: 'no licence' } }),
      (error) => error instanceof LaunchError && /no licence/.test(error.message));
    await service.stop();
    await bus.close();
    await assert.rejects(bus.request('s', 1), BusError);
  });

  test('a service handles requests concurrently', async () => {
    const service = await start('any', { name: 's', boot });
    const held = [service.request('hold'), service.request('hold')];
    await service.request(1);
    await service.request('release');
    assert.deepEqual(await Promise.all(held), [0, 1]);
    await service.stop();
  });

  test('a stray console.log goes to the log', async () => {
    const service = await start('any', { name: 's', boot });
    assert.equal((await service.request(1)).content, 1);
    await service.stop();
    assert.match(ipcm('logs', 's'), /stray output/);
  });

  test('a service that is killed fails its requests', async () => {
    const service = await start('any', { name: 's', boot });
    const held = service.request('hold');
    process.kill(await service.request('pid'), 'SIGKILL');
    await assert.rejects(held, PeerGone);
  });

  test('a service that hangs is killed by its bridge after its end', async () => {
    const service = await launch('h');
    const ended = once(service, 'exit');
    const bus = await connect();
    assert.equal(await bus.request('h', 'busy'), 'busy');
    ipcm('stop', 'h');
    assert.deepEqual(await ended, [null, 'SIGKILL']);
  });

  test('SIGTERM and SIGINT end a service with status 0, and its open requests fail', async () => {
    const bus = await connect();
    for (const signal of ['SIGTERM', 'SIGINT']) {
      const service = await launch('s');
      const ended = once(service, 'exit');
      const held = bus.request('s', 'hold');
      await bus.request('s', 1);
      service.kill(signal);
      await assert.rejects(held, PeerGone);
      assert.deepEqual(await ended, [0, null]);
    }
  });

  test('a service that was started by hand joins under the name of its file, and ends by a signal', async () => {
    const bus = await connect();
    const changes = bus.changes();
    await bus.watch();
    const service = spawn(boot, { stdio: 'ignore' });
    open.push(() => service.kill('SIGKILL'));
    const ended = once(service, 'exit');
    assert.deepEqual((await changes.next()).value, { service: 1 });
    assert.deepEqual(await bus.request('service', 'args'), ['', null]);
    service.kill('SIGTERM');
    assert.deepEqual((await changes.next()).value, { service: -1 });
    assert.deepEqual(await ended, [0, null]);
  });

  test('a service chooses its status', async () => {
    const service = await launch('s');
    const ended = once(service, 'exit');
    const bus = await connect();
    await Promise.allSettled([bus.request('s', 'end')]); // its answer may come, or the service has left before
    assert.deepEqual(await ended, [3, null]);
  });

  test('messages and changes are iterated, until the signal or the end of the bus', async () => {
    const a = await connect({ name: 'a' });
    const messages = a.messages();
    const changes = a.changes();
    const b = await connect({ name: 'b' });
    for (const n of [1, 2]) await b.send('a', n);
    assert.deepEqual([(await messages.next()).value, (await messages.next()).value].map(({ content }) => content), [1, 2]);
    assert.deepEqual((await changes.next()).value, { b: 1 });
    const stop = new AbortController();
    const stopped = a.messages({ signal: stop.signal }).next();
    stop.abort();
    await assert.rejects(stopped, { name: 'AbortError' });
    const rest = (async () => {
      const seen = [];
      for await (const { content } of messages) seen.push(content);
      return seen;
    })();
    const came = once(a, 'message');
    await b.send('a', 3);
    await came;
    await a.close();
    assert.deepEqual(await rest, [3]);
    assert.equal((await a.messages().next()).done, true);
  });

  test('an abort ends a connect, and a start', async () => {
    const signal = AbortSignal.abort();
    await assert.rejects(connect({ signal }), { name: 'AbortError' });
    await assert.rejects(start('echo', { signal }), { name: 'AbortError' });
    const stop = new AbortController();
    const connecting = connect({ signal: stop.signal });
    stop.abort();
    await assert.rejects(connecting, { name: 'AbortError' });
  });

  test('the types name all that the kit exports', () => {
    const types = readFileSync(new URL('../lib/index.d.ts', import.meta.url), 'utf8');
    const values = [...types.matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
    assert.deepEqual(values.sort(), Object.keys(kit).sort());
    for (const [, name, body] of types.matchAll(/^export class (\w+) extends (?:Bus|EventEmitter) \{\n(.*?)^\}/gms))
      for (const [, method] of body.matchAll(/^  (\w+)[(<].*;$/gm))
        assert.ok(method === 'constructor' || method === 'on' || typeof kit[name].prototype[method] === 'function', `${name}.${method}`);
  });

  test('many requests at once, and large ones', async () => {
    const echo = await start('echo');
    const many = await Promise.all(Array.from({ length: 2000 }, (_, n) => echo.request(n)));
    assert.deepEqual(many, Array.from({ length: 2000 }, (_, n) => n));
    const large = 'x'.repeat(5_000_000);
    assert.equal(await echo.request(large), large);
    await echo.stop();
  });
});

onBus('MessageFiles', () => {
  test('a durable bus keeps messages while a client is suspended', async () => {
    const a = await connect({ name: 'a' });
    const b = await connect({ name: 'b' });
    await a.suspend({ expires: 60 });
    await assert.rejects(a.send('b', 1), UsageError);
    await b.send('a', 'kept');
    const came = once(a, 'message');
    await a.reconnect();
    assert.equal((await came)[0].content, 'kept');
  });

  test('a client that was suspended returns in another process, and loses no message', async () => {
    const a = await connect({ name: 'a' });
    const b = await connect({ name: 'b' });
    await a.suspend();
    await a.close();
    for (const n of [1, 2, 3]) await b.send('a', n);
    const again = await connect({ name: 'a', reconnect: true });
    const messages = again.messages();
    for (const n of [1, 2, 3]) assert.equal((await messages.next()).value.content, n);
  });

  test('peers are watched from the reconnection on, if that was asked for while suspended', async () => {
    const a = await connect({ name: 'a' });
    await a.suspend();
    const changes = a.changes();
    await a.reconnect();
    await connect({ name: 'b' });
    assert.deepEqual((await changes.next()).value, { b: 1 });
  });
});

onBus('ConnectionUnix', () => {
  test('bytes are a Uint8Array', async () => {
    const echo = await start('echo');
    assert.deepEqual(await echo.request(Uint8Array.of(0, 255, 10)), Buffer.from([0, 255, 10]));
    await echo.stop();
  });
}, '--serializer', 'Cereal');
