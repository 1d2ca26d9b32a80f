import { fork } from 'node:child_process';
import { connect } from 'node:tls';
import mqttPacket from 'mqtt-packet';
import tls from 'node:tls';
const server = fork(new URL(process.env.MODE ? './.mqtt-bench-base.ts' : './.mqtt-bench-server.ts', import.meta.url), { execArgv: process.env.PROF ? ['--cpu-prof', '--cpu-prof-dir=/tmp/mqttbench'] : [] });
let cpu: any;
const info: any = await new Promise((resolve) => server.on('message', (m: any) => (m.port ? resolve(m) : (cpu = m))));
const contexts = info.devices.map((d: any) => tls.createSecureContext({ ca: info.ca, cert: d.cert, key: d.key, minVersion: 'TLSv1.3' }));
let done = 0, fail = 0;
const seconds = 6;
const end = Date.now() + seconds * 1000;
async function loop(i: number) {
  const d = info.devices[i];
  const bytes = mqttPacket.generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 60, clientId: d.id });
  while (Date.now() < end) {
    await new Promise<void>((resolve) => {
      const s = connect({ host: '127.0.0.1', port: info.port, servername: 'localhost', secureContext: contexts[i] });
      s.setNoDelay(true);
      s.on('error', () => {});
      s.once('secureConnect', () => s.write(bytes));
      s.once('data', (b: Buffer) => { if (b[3] === 0) done++; else fail++; s.destroy(); });
      s.once('close', () => resolve());
    });
  }
}
const ask = () => new Promise<any>((r) => { server.once('message', r); server.send('?'); });
const before = await ask();
await Promise.all(Array.from({ length: 24 }, (_, i) => loop(i)));
const after = await ask();
const us = (after.cpu.user + after.cpu.system - before.cpu.user - before.cpu.system) / done;
console.log({ perSecond: done / seconds, fail, serverCpuUsPerConnect: Math.round(us), limitPerCore: Math.round(1e6 / us), rss: after.rss >> 20 });
if (process.env.PROF) { server.send('exit'); } else server.kill();
