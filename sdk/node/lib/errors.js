/** The base of all errors of this kit. `kind` and `status` are those of `ipcm --json`. */
export class IpcmError extends Error {
  constructor(message, kind = 'system', status = 5) {
    super(message);
    this.name = new.target.name;
    this.kind = kind;
    this.status = status;
  }
}

/** The receiver answered with an error: its text. */
export class RemoteError extends IpcmError {}
/** There is no such peer, or it ended before it answered. */
export class PeerGone extends IpcmError {}
/** A limit has passed. */
export class Timeout extends IpcmError {}
/** The bus can't be used, or is gone. */
export class BusError extends IpcmError {}
/** Another process has the name. */
export class NameTaken extends BusError {}
/** A wrong call, or a content that the bus can't carry. */
export class UsageError extends IpcmError {}
/** A service did not start. */
export class LaunchError extends IpcmError {}

const classes = {
  answer: RemoteError, gone: PeerGone, timeout: Timeout, bus: BusError, usage: UsageError, protocol: UsageError, launch: LaunchError,
};

/** Returns the error that a line of the bridge, or of `ipcm --json`, describes. */
export function errorOf({ error, kind, status, taken }) {
  return new (taken ? NameTaken : classes[kind] ?? IpcmError)(error, kind, status);
}
