import { createServer } from 'node:tls';
import { constants } from 'node:crypto';
import { Aedes } from 'aedes';
import mqttPacket from 'mqtt-packet';
import { createAuthority } from '#test/fixtures/mqtt/authority.ts';
const authority = await createAuthority();
const server = await authority.server();
const devices = [];
for (let i = 0; i < 64; i++) devices.push({ id: `d-${i}`, c: await authority.issue(`d-${i}`) });
const aedes = process.env.MODE === 'aedes' ? await Aedes.createBroker({ concurrency: 0 }) : undefined;
const t = createServer({ cert: server.chain, key: server.keyPem, ca: authority.anchors, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET, noDelay: true }, (s) => {
  s.on('error', () => {});
  s.getPeerX509Certificate();
  if (aedes) { aedes.handle(s); return; }
  const p = mqttPacket.parser();
  p.on('packet', () => s.write(Buffer.from('20020000', 'hex')));
  s.on('data', (d) => p.parse(d));
});
t.on('tlsClientError', (_e, s) => s.destroy());
t.listen(0, '127.0.0.1', () => process.send?.({ port: (t.address() as any).port, ca: authority.root.pem, devices: devices.map((d) => ({ id: d.id, cert: d.c.chain, key: d.c.keyPem })) }));
process.on('message', () => process.send?.({ cpu: process.cpuUsage(), counts: {}, rss: process.memoryUsage().rss }));
