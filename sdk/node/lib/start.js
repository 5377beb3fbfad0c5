import { execFile } from 'node:child_process';
import { command } from './bridge.js';
import { connect } from './bus.js';
import { errorOf, LaunchError } from './errors.js';

/** Runs `ipcm --json WORDS` and resolves to what it prints. */
function run(words, bus, signal) {
  const env = bus ? { ...process.env, IPCM_INFO: typeof bus === 'string' ? bus : JSON.stringify(bus) } : process.env;
  return new Promise((resolve, reject) => {
    execFile(command(), ['--json', ...words], { env, signal, maxBuffer: 1 << 26 }, (error, out, err) => {
      if (!error) return resolve(out);
      if (signal?.aborted) return reject(signal.reason);
      try {
        return reject(errorOf(JSON.parse(err.trim().split('\n').at(-1))));
      } catch {
        return reject(new LaunchError(`ipcm ${words[0]}: ${err.trim() || error.message}`, 'launch', 5));
      }
    });
  });
}

/** A service that this program has started. */
class Started {
  #bus;
  #info;
  constructor(name, pid, bus, info) {
    this.name = name;
    this.pid = pid;
    this.#bus = bus;
    this.#info = info;
  }
  request(content, options) { return this.#bus.request(this.name, content, options); }
  send(content) { return this.#bus.send(this.name, content); }
  /** Ends the service, and leaves the bus. */
  async stop() {
    try {
      await run(['stop', '--', this.name], this.#info);
    } finally {
      await this.#bus.close();
    }
  }
  [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() { return this.stop(); }
}

/**
 * Starts a service on a bus and resolves when it is ready: `className` of the boot binary `boot` (a program that calls serve(), or ipcm-boot). The
 * service ends with stop(), or with its bus: it may outlive this program.
 */
export async function start(className, { name = className, args, boot, bus, timeout, signal } = {}) {
  const words = ['start', className, '--name', name];
  if (args !== undefined) words.push('--args', JSON.stringify(args));
  if (boot !== undefined) words.push('--boot', boot);
  if (timeout !== undefined) words.push('--timeout', String(timeout));
  const { pid } = JSON.parse(await run(words, bus, signal));
  return new Started(name, pid, await connect({ bus }), bus);
}
