import { EventEmitter, on } from 'node:events';
import { Bridge } from './bridge.js';
import { BusError, errorOf, UsageError } from './errors.js';

/** Content in the form of a line: bytes as base64. */
export function contentOf(content) {
  if (content instanceof Uint8Array) return { bytes: Buffer.from(content).toString('base64') };
  if (content === undefined) throw new UsageError('a content is any JSON value or a Uint8Array; found undefined', 'usage', 2);
  return { content };
}

/** The content of a line. */
export const contentIn = (line) => ('bytes' in line ? Buffer.from(line.bytes, 'base64') : line.content);

/**
 * A member of a bus. Events: 'message' ({ content, from, broadcast }), 'peers' ({ name: 1 | -1 }), 'end' (why), once it has left.
 */
export class Bus extends EventEmitter {
  #bridge;
  #open = new Map();
  #last = 0;
  #joined;
  #ended;
  #watching;
  #left = false;

  /** For this kit itself: use connect() or serve(). */
  constructor(bridge) {
    super();
    this.#bridge = bridge;
    this.#joined = new Promise((resolve, reject) => {
      this.#open.set('joined', { resolve, reject });
    });
    this.#joined.catch(() => {});
    this.#ended = new Promise((resolve) => { this.once('end', resolve); });
    bridge.onLine((line, error) => (line ? this._take(line) : this._over(error)));
    this.on('newListener', (event) => {
      if (event === 'peers') this.watch().catch(() => {}); // 'end' tells why
    });
  }

  /** Resolves to this bus when it has joined. */
  async joined() {
    const { name, bus } = await this.#joined;
    this.name = name;
    this.info = JSON.parse(bus);
    return this;
  }

  /** Asks a peer, and resolves to its answer. `timeout`: seconds; `signal`: an AbortSignal. */
  async request(to, content, { timeout, signal } = {}) {
    signal?.throwIfAborted();
    const id = ++this.#last;
    const line = { op: 'request', id, to, ...contentOf(content), ...(timeout === undefined ? {} : { timeout }) };
    return contentIn(await this.#ask(id, line, signal));
  }
  /** Sends a message. Resolves when it is on its way. */
  async send(to, content) { await this._perform({ op: 'send', to, ...contentOf(content) }); }
  /** Sends a message to all others: { sent, left, failed }. */
  async broadcast(content) {
    const { sent, left, failed } = await this._perform({ op: 'broadcast', ...contentOf(content) });
    return { sent, left, failed };
  }
  /** The names of the others. */
  async peers() { return (await this._perform({ op: 'peers' })).peers; }

  /** Resolves when 'peers' events begin; a listener for them begins it, too. */
  async watch() {
    this.#watching ??= this._perform({ op: 'watch' });
    try {
      await this.#watching;
    } catch (error) {
      this.#watching = undefined; // suspended: reconnect() tries again
      throw error;
    }
  }
  /** The general messages from now on, as an async iterator that ends with the bus. */
  messages({ signal } = {}) { return this.#iterate('message', signal); }
  /** The 'peers' events from now on, as an async iterator that ends with the bus. */
  changes({ signal } = {}) { return this.#iterate('peers', signal); }

  #iterate(event, signal) {
    const events = on(this, event, { signal });
    const close = () => { this.off('end', close); return events.return(); };
    this.on('end', close);
    if (this.#left) close();
    return {
      async next() {
        const { value, done } = await events.next();
        return { value: value?.[0], done };
      },
      async return(value) { await close(); return { value, done: true }; },
      [Symbol.asyncIterator]() { return this; },
    };
  }

  /** Leaves a durable bus, which keeps messages for this name: at most `expires` seconds. */
  async suspend({ expires } = {}) { await this._perform({ op: 'suspend', ...(expires === undefined ? {} : { expires }) }); }
  /** Joins again after suspend(), and gets the messages that the bus has kept. */
  async reconnect() {
    await this._perform({ op: 'reconnect' });
    if (this.listenerCount('peers') > 0) await this.watch();
  }

  /** Leaves the bus. */
  async close() {
    if (this.#left) return this.#ended;
    this.#left = true;
    try { this._tell({ op: 'leave' }); } catch { /* it has ended already */ }
    return this.#ended;
  }
  [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() { return this.close(); }

  /** Lets the process end although this bus is open. */
  unref() { this.#bridge.unref(); return this; }
  ref() { this.#bridge.ref(); return this; }

  _tell(line) { return this.#bridge.write(line); }
  _drained() { return this.#bridge.drained(); }
  _close() { this.#bridge.close(); }

  /** Performs an operation and resolves to its `done` line. */
  async _perform(line) {
    const id = ++this.#last;
    return this.#ask(id, { ...line, id });
  }

  #ask(id, line, signal) {
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#open.delete(id);
        reject(signal.reason);
      };
      const settle = (call) => (value) => {
        signal?.removeEventListener('abort', abort);
        call(value);
      };
      this.#open.set(id, { resolve: settle(resolve), reject: settle(reject) });
      signal?.addEventListener('abort', abort, { once: true });
      try {
        this._tell(line);
      } catch (error) {
        this.#open.delete(id);
        settle(reject)(error);
      }
    });
  }

  #settle(id) {
    const call = this.#open.get(id);
    this.#open.delete(id);
    return call;
  }

  _take(line) {
    switch (line.type) {
      case 'joined':
        this.#bridge.pause();
        return this.#settle('joined').resolve(line);
      case 'response':
      case 'done':
        return this.#settle(line.id)?.resolve(line);
      case 'error':
        if (line.id === undefined && this.#open.has('joined')) return this.#settle('joined').reject(errorOf(line));
        return this.#settle(line.id)?.reject(errorOf(line));
      case 'message':
        return this.emit('message', { content: contentIn(line), from: line.from, broadcast: line.broadcast ?? false });
      case 'peers':
        return this.emit('peers', line.delta);
      case 'end':
        this._why = line;
        return this._close();
      default:
        return undefined; // of a later version
    }
  }

  _over(error) {
    const reason = this._why ? new BusError(`the bus was left: ${this._why.why}`, 'bus', 3) : error;
    for (const [id, call] of this.#open) {
      this.#open.delete(id);
      call.reject(reason);
    }
    this.#left = true;
    this.emit('end', this._why?.why ?? error.message);
  }
}

/** Joins a bus: `bus` is its info string (or $IPCM_INFO), `name` ours; without one, peers do not see us. `signal`: an AbortSignal. */
export async function connect({ name, bus, reconnect = false, signal } = {}) {
  signal?.throwIfAborted();
  const words = [...(name === undefined ? [] : ['--as', name]), ...(reconnect ? ['--reconnect'] : [])];
  const bridge = new Bridge(words, { bus });
  const member = new Bus(bridge);
  if (!signal) return member.joined();
  let abort;
  const aborted = new Promise((_, reject) => {
    abort = () => {
      bridge.close();
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([member.joined(), aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
