#!/usr/bin/env node
// The service of the tests: what it does depends on the request.
import { serve } from '../lib/index.js';

let last = 'none';
const held = [];
serve({
  start(service) {
    console.log('stray output');
    if (service.args?.fail) throw new Error(service.args.fail);
  },
  async request({ content, from }, service) {
    switch (content?.do ?? content) {
      case 'fail': throw new Error('it failed on purpose');
      case 'pid': return process.pid;
      case 'args': return [service.class, service.args];
      case 'hold': return new Promise((resolve) => { held.push(resolve); });
      case 'release': held.splice(0).forEach((resolve, at) => resolve(at)); return held.length;
      case 'last': return last;
      case 'ask': return service.request(content.to, content.content, { timeout: 20 });
      case 'busy': setImmediate(() => { for (;;); }); return 'busy';
      case 'end': return void service.end(3);
      default: return { from, content };
    }
  },
  message({ content, from, broadcast }) { last = { content, from, broadcast }; },
});
