import { EventEmitter } from 'node:events';

/** What a message carries: any JSON value, or bytes on a bus with the serializer Cereal. */
export type Content = unknown;
/** The info string of a bus, or its array. */
export type Info = string | [string, string, string];

export interface Message {
  content: Content;
  from: string;
  broadcast: boolean;
}

export interface RequestOptions {
  /** Seconds. */
  timeout?: number;
  /** Aborts the wait; the receiver is not told, and works on. */
  signal?: AbortSignal;
}

export interface BroadcastResult {
  sent: string[];
  left: string[];
  failed: Record<string, string>;
}

/** A member of a bus. */
export class Bus extends EventEmitter {
  private constructor();
  /** The name on the bus. */
  readonly name: string;
  readonly info: [string, string, string];
  /** Asks a peer. Rejects with RemoteError, PeerGone, Timeout, UsageError, BusError, or the reason of the signal. */
  request<Answer = unknown>(to: string, content: Content, options?: RequestOptions): Promise<Answer>;
  send(to: string, content: Content): Promise<void>;
  broadcast(content: Content): Promise<BroadcastResult>;
  /** The names of the others. */
  peers(): Promise<string[]>;
  /** Resolves when 'peers' events begin; a listener for them, or changes(), begins them, too. */
  watch(): Promise<void>;
  /** General messages from now on. The iteration ends with the bus; `signal` ends it with an AbortError. What nobody takes waits in memory. */
  messages(options?: { signal?: AbortSignal }): AsyncIterableIterator<Message>;
  /** Peers from now on: 1 has joined, -1 has left. As messages(). */
  changes(options?: { signal?: AbortSignal }): AsyncIterableIterator<Record<string, 1 | -1>>;
  /** Leaves a durable bus, which keeps messages for this name: at most `expires` seconds. Open requests fail with BusError. */
  suspend(options?: { expires?: number }): Promise<void>;
  /** Joins again after suspend(), and gets the messages that the bus has kept. */
  reconnect(): Promise<void>;
  /** Leaves the bus, and resolves when it has been left. */
  close(): Promise<void>;
  /** Lets the process end although the bus is open. */
  unref(): this;
  ref(): this;
  on(event: 'message', listener: (message: Message) => void): this;
  /** 1: has joined, -1: has left. */
  on(event: 'peers', listener: (delta: Record<string, 1 | -1>) => void): this;
  on(event: 'end', listener: (why: string) => void): this;
}

export interface ConnectOptions {
  /** Without a name, peers do not see us while we only send and ask. */
  name?: string;
  /** Default: $IPCM_INFO. */
  bus?: Info;
  /** Joins under a name that was suspended, or whose process died, and gets its messages. */
  reconnect?: boolean;
  /** Ends the attempt to join, and rejects with the reason of the signal. */
  signal?: AbortSignal;
}
export function connect(options?: ConnectOptions): Promise<Bus>;

export interface Request {
  content: any;
  from: string;
  /** Aborted when the service ends. */
  signal: AbortSignal;
}

/**
 * A service: a bus whose `class` and `args` the launcher has chosen. SIGTERM and SIGINT end it with status 0; a further one, while it is still
 * busy with `stop`, ends the process at once.
 */
export class Service extends Bus {
  /** Empty if nobody has launched it. */
  readonly class: string;
  readonly args: any;
  readonly signal: AbortSignal;
  /** Leaves the bus and ends the process with this status. */
  end(status?: number): void;
}

export interface Handlers {
  /** Returns the answer; undefined is null. If it throws, the requester gets the message of the error. */
  request?(request: Request, service: Service): Content | Promise<Content>;
  message?(message: Message, service: Service): unknown;
  peers?(delta: Record<string, 1 | -1>, service: Service): unknown;
  /** Before the service is ready. If it throws, the start fails with that reason. */
  start?(service: Service): unknown;
  /** After it has left; the process ends when it is done, but a launched one gets SIGTERM after 5 s, and SIGKILL after 5 s more. */
  stop?(service: Service): unknown;
}
export function serve(handlers: Handlers | Handlers['request'], options?: { name?: string; bus?: Info }): Promise<Service>;

export interface Started {
  readonly name: string;
  readonly pid: number;
  request<Answer = unknown>(content: Content, options?: RequestOptions): Promise<Answer>;
  send(content: Content): Promise<void>;
  stop(): Promise<void>;
}
export interface StartOptions {
  /** Default: the class. */
  name?: string;
  args?: unknown;
  /** The boot binary: a program that calls serve(). Default: ipcm-boot. */
  boot?: string;
  bus?: Info;
  /** Seconds. */
  timeout?: number;
  signal?: AbortSignal;
}
export function start(className: string, options?: StartOptions): Promise<Started>;

export class IpcmError extends Error {
  readonly kind: string;
  readonly status: number;
}
export class RemoteError extends IpcmError {}
export class PeerGone extends IpcmError {}
export class Timeout extends IpcmError {}
export class BusError extends IpcmError {}
export class NameTaken extends BusError {}
export class UsageError extends IpcmError {}
export class LaunchError extends IpcmError {}
