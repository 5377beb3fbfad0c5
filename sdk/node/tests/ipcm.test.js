import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, afterEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BusError, connect, LaunchError, NameTaken, PeerGone, RemoteError, start, Timeout, UsageError } from 'ipcm';

const command = process.env.IPCM_COMMAND ?? 'ipcm';
const boot = fileURLToPath(new URL('service.mjs', import.meta.url));
const ipcm = (...words) => execFileSync(command, ['--json', ...words], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

let folder;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'ipcm-node-'));
  process.env.TMPDIR = process.env.XDG_RUNTIME_DIR = folder;
});
after(() => rmSync(folder, { recursive: true }));

const onBus = (protocol, body, ...options) => describe(protocol, () => {
  beforeEach(() => { process.env.IPCM_INFO = JSON.stringify(JSON.parse(ipcm('bus', 'new', '--protocol', protocol, ...options)).info); });
  afterEach(() => { ipcm('bus', 'rm'); });
  body();
});

for (const protocol of ['ConnectionUnix', 'MessageFiles', 'SQLite']) onBus(protocol, () => {
  test('a client asks a service, and a service asks another', async () => {
    const service = await start('any', { name: 's', boot, timeout: 60, args: { n: 1 } });
    const echo = await start('echo');
    const bus = await connect({ name: 'me' });
    assert.deepEqual(await service.request([1, 'ä']), { from: service.request && (await who(service)), content: [1, 'ä'] });
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
    await a.peers();
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
    const service = await start('any', { name: 's', boot, timeout: 60 });
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
    await assert.rejects(start('any', { name: 'f', boot, timeout: 60, args: { fail: 'no licence' } }),
      (error) => error instanceof LaunchError && /no licence/.test(error.message));
    await service.stop();
    await bus.close();
    await assert.rejects(bus.request('s', 1), BusError);
  });

  test('a service handles requests concurrently', async () => {
    const service = await start('any', { name: 's', boot, timeout: 60 });
    const held = [service.request('hold'), service.request('hold')];
    await service.request(1);
    await service.request('release');
    assert.deepEqual(await Promise.all(held), [0, 1]);
    await service.stop();
  });

  test('a stray console.log goes to the log', async () => {
    const service = await start('any', { name: 's', boot, timeout: 60 });
    assert.equal((await service.request(1)).content, 1);
    await service.stop();
    assert.match(ipcm('logs', 's'), /stray output/);
  });

  test('a service that is killed fails its requests, and one that hangs is killed after its end', async () => {
    const service = await start('any', { name: 's', boot, timeout: 60 });
    const held = service.request('hold');
    process.kill(await service.request('pid'), 'SIGKILL');
    await assert.rejects(held, PeerGone);
    const hangs = await start('any', { name: 'h', boot, timeout: 60 });
    assert.equal(await hangs.request('busy'), 'busy');
    await hangs.stop();
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
    await a.suspend();
    await b.send('a', 'kept');
    const came = once(a, 'message');
    await a.reconnect();
    assert.equal((await came)[0].content, 'kept');
    await a.close();
    await b.close();
  });
});

onBus('ConnectionUnix', () => {
  test('bytes are a Uint8Array', async () => {
    const echo = await start('echo');
    assert.deepEqual(await echo.request(Uint8Array.of(0, 255, 10)), Buffer.from([0, 255, 10]));
    await echo.stop();
  });
}, '--serializer', 'Cereal');
