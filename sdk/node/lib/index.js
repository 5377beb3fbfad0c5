export { connect, Bus } from './bus.js';
export { serve, Service } from './service.js';
export { start } from './start.js';
export { BusError, IpcmError, LaunchError, NameTaken, PeerGone, RemoteError, Timeout, UsageError } from './errors.js';
