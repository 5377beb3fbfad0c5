import { constants } from 'node:os';
import { basename } from 'node:path';
import { Bridge } from './bridge.js';
import { Bus, contentIn, contentOf } from './bus.js';
import { UsageError } from './errors.js';

const SERVICE_THREW = 70;
const SIGNAL_STATUS = 128;

/** Whether a launcher has started this program as a service (docs/boot.md). */
const isBoot = (args) => args.some((word) => /^--(ready|params)-fd/.test(word)) || (args.length === 1 && args[0].startsWith('{'));

/** A service: a member of a bus that answers requests. */
export class Service extends Bus {
  #handlers;
  #stops = new AbortController();

  constructor(bridge, handlers) {
    super(bridge);
    this.#handlers = handlers;
    const { message, peers } = handlers;
    if (message) this.on('message', (one) => this.#guard(message(one, this)));
    if (peers) this._wantsPeers = true;
    for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => this.#obey(signal));
  }

  /** Aborted when the service ends: for work that should end with it. */
  get signal() { return this.#stops.signal; }
  /** Leaves the bus and ends the process with this status. */
  end(status = 0) { this._tell({ op: 'leave', status }); }

  /** A signal ends a service properly. After that, while the program is still busy with its end, it ends the process. */
  #obey(signal) {
    if (this._why || this.signal.aborted) process.exit(SIGNAL_STATUS + constants.signals[signal]);
    this.end();
  }

  async _start() {
    await this.joined();
    try {
      await this.#handlers.start?.(this);
      if (this._wantsPeers) this.on('peers', (delta) => this.#guard(this.#handlers.peers(delta, this)));
      await this._perform({ op: 'ready' });
    } catch (error) {
      console.error(error);
      this._tell({ op: 'fail', error: String(error?.message ?? error) || 'the start failed' });
    }
    return this;
  }

  _take(line) {
    if (line.type === 'request') return void this.#answer(line);
    if (line.type === 'joined') {
      this.class = line.class;
      this.args = line.args;
    }
    return super._take(line);
  }

  async #answer(line) {
    const number = line.request;
    try {
      const { request } = this.#handlers;
      if (!request) throw new UsageError(`service '${this.name}' takes no requests`);
      const content = await request({ content: contentIn(line), from: line.from, signal: this.signal }, this);
      this._tell({ op: 'answer', id: `a${number}`, request: number, ...contentOf(content ?? null) });
    } catch (error) {
      this.#refuse(number, error);
    }
  }

  #refuse(number, error) {
    console.error(error);
    try {
      this._tell({ op: 'error', request: number, error: String(error?.message ?? error) || 'the service threw' });
    } catch { /* the bus was left meanwhile */ }
  }

  /** An error of a handler that nobody waits for is a line in the log. */
  #guard(result) { Promise.resolve(result).catch((error) => console.error(error)); }

  _over(error) {
    const status = this._why ? this._why.status : SERVICE_THREW;
    if (!this._why) console.error(`ipcm: service${this.name ? ` '${this.name}'` : ''}: ${error.message}`);
    const exit = () => process.exit(status);
    if (!this.name) exit(); // the launcher knows why; a rejection would change the status
    this.#stops.abort(error);
    super._over(error);
    Promise.resolve().then(() => this.#handlers.stop?.(this)).catch((failure) => console.error(failure)).then(exit);
  }
}

/**
 * Makes this program a service, and resolves to it when it is ready. `handlers`: a function that returns the answer to a request, or
 * an object { request, message, peers, start, stop }. Started by `ipcm start`, it obeys the boot contract; started by hand, it joins $IPCM_INFO
 * as `name`. The process ends with the service.
 */
export function serve(handlers, { name, bus } = {}) {
  const all = typeof handlers === 'function' ? { request: handlers } : handlers;
  const args = process.argv.slice(2);
  const boot = isBoot(args) ? args : undefined;
  const words = boot ? ['--serve'] : ['--serve', '--name', name ?? basename(process.argv[1] ?? 'service').replace(/\.[cm]?js$/, '')];
  return new Service(new Bridge(words, { bus, boot }), all)._start();
}
