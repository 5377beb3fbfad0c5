import { EventEmitter } from 'node:events';
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
  #watches = false;
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
      if (event !== 'peers' || this.#watches) return;
      this.#watches = true;
      this._tell({ op: 'watch' });
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

  /** Leaves a durable bus, which keeps messages for this name: at most `expires` seconds. */
  async suspend({ expires } = {}) { await this._perform({ op: 'suspend', ...(expires === undefined ? {} : { expires }) }); }
  /** Joins again after suspend(), and gets the messages that the bus has kept. */
  async reconnect() { await this._perform({ op: 'reconnect' }); }

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

/** Joins a bus: `bus` is its info string (or $IPCM_INFO), `name` ours; without one, peers do not see us. */
export async function connect({ name, bus, reconnect = false } = {}) {
  const words = [...(name === undefined ? [] : ['--as', name]), ...(reconnect ? ['--reconnect'] : [])];
  return new Bus(new Bridge(words, { bus })).joined();
}
