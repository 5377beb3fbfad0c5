// The process `ipcm bridge`, and the lines between it and this program (docs/bridge.md).

import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { BusError } from './errors.js';

const NEWLINE = 0x0a;

/** Returns the path of the command: $IPCM, or `ipcm` on $PATH. */
export const command = () => process.env.IPCM || 'ipcm';

/** The descriptors of the boot contract that this process has inherited, besides the standard streams. */
function inheritedDescriptors(args) {
  const numbers = [];
  const add = (text) => /^\d+$/.test(text ?? '') && Number(text) > 2 && numbers.push(Number(text));
  args.forEach((word, at) => {
    const [, value] = /^--(?:ready|params)-fd(?:=(.*))?$/.exec(word) ?? [word, null];
    if (value !== null) add(value ?? args[at + 1]);
  });
  for (const name of ['IPCM_LEASH_FD', 'IPCM_STDERR_FD', 'IPCM_LOG_FD', 'IPCM_ORIG_IO_FDS'])
    for (const text of (process.env[name] ?? '').split(',')) add(text);
  return [...new Set(numbers)];
}

/** A bridge, as a stream of lines in both directions. */
export class Bridge {
  #child;
  #socket;
  #pieces = [];
  #take = () => {};
  #over = false;
  #lines = []; // of a pause
  #paused = false;

  /** `words`: of `ipcm bridge`; `boot`: the boot arguments of this process, if it was started as a service. */
  constructor(words, { bus, boot } = {}) {
    const inherited = boot ? inheritedDescriptors(boot) : [];
    const ours = Math.max(2, ...inherited) + 1;
    const stdio = Array.from({ length: ours + 1 }, (_, at) => (at <= 2 ? 'inherit' : inherited.includes(at) ? at : 'ignore'));
    if (!boot) stdio[0] = stdio[1] = 'ignore';
    stdio[ours] = 'pipe';
    this.#child = spawn(command(), ['bridge', ...words, '--fds', `${ours},${ours}`, ...(boot ? ['--', ...boot] : [])], {
      stdio,
      env: bus ? { ...process.env, IPCM_INFO: typeof bus === 'string' ? bus : JSON.stringify(bus) } : process.env,
    });
    this.#child.on('error', (error) => this.#end(new BusError(`${command()} can't be started: ${error.message}; set $IPCM or $PATH`)));
    this.#child.unref();
    // The bridge has them now. As long as this process had them too, its launcher would not notice the bridge's end.
    for (const fd of inherited) closeSync(fd);
    for (const name of Object.keys(process.env))
      if (boot && /^IPCM_(LEASH_FD|STDERR_FD|LOG_FD|ORIG_IO_FDS|PARAMS_WHOLE)$/.test(name)) delete process.env[name];
    this.#socket = this.#child.stdio[ours];
    this.#socket?.on('data', (data) => this.#receive(data));
    this.#socket?.on('error', () => {});
    this.#socket?.on('close', () => this.#end(new BusError('the bridge to the bus has ended')));
  }

  /** Sets the function that gets each line, parsed, and at the end `null` and an error. */
  onLine(take) { this.#take = take; }

  /**
   * Delivers no further line before the microtasks that wait now are done: listeners that a caller adds right after `await` get all of them.
   */
  pause() {
    this.#paused = true;
    this.#socket.pause();
    setImmediate(() => {
      this.#paused = false;
      while (this.#lines.length > 0 && !this.#paused) this.#take(this.#lines.shift());
      if (!this.#paused) this.#socket.resume();
    });
  }

  /** Writes a line. Returns false while the bridge reads more slowly than this program writes. */
  write(line) {
    if (this.#over) throw new BusError('the bus was left, or the bridge has ended', 'bus', 3);
    return this.#socket.write(`${JSON.stringify(line)}\n`);
  }
  /** Resolves when the bridge has read enough for a further line. */
  async drained() {
    if (!this.#over && this.#socket.writableNeedDrain)
      await new Promise((resolve) => { this.#socket.once('drain', resolve); this.#socket.once('close', resolve); });
  }

  /** Closes our end: the bridge leaves. */
  close() { this.#socket?.end(); }
  /** Keeps the process alive, or no longer, while nothing else does. */
  ref() { this.#socket?.ref(); }
  unref() { this.#socket?.unref(); }

  #receive(data) {
    let begin = 0;
    for (let at = data.indexOf(NEWLINE); at >= 0; at = data.indexOf(NEWLINE, begin)) {
      this.#pieces.push(data.subarray(begin, at));
      const text = (this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces)).toString();
      this.#pieces = [];
      begin = at + 1;
      const line = JSON.parse(text);
      if (this.#paused) this.#lines.push(line);
      else this.#take(line);
    }
    if (begin < data.length) this.#pieces.push(data.subarray(begin));
  }

  #end(error) {
    if (this.#over) return;
    this.#over = true;
    this.#take(null, error);
  }
}
