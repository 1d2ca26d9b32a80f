import { TestDoor } from '#test/fixtures/mqtt/test-door.ts';
const door = await TestDoor.open({ sweepMs: 1000 });
const { credential } = await door.device('press-1');
// distinct devices share nothing; one certificate, one id per connection is enough for connect/close loops
const devices = [];
for (let i = 0; i < 64; i++) devices.push(await door.device(`d-${i}`));
door.lines.push = () => 0; door.opened.push = () => 0; door.closed.push = () => 0; door.requests.push = () => 0;
process.send?.({ port: door.port, ca: door.authority.root.pem, devices: devices.map((d) => ({ id: d.deviceId, cert: d.credential.chain, key: d.credential.keyPem })) });
process.on('message', (m) => m === 'exit' ? process.exit(0) : process.send?.({ cpu: process.cpuUsage(), counts: door.door.counts(), rss: process.memoryUsage().rss }));
void credential;
