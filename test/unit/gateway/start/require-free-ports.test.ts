import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { parseConfig } from '#gateway/config.ts';
import { requireFreePorts } from '#gateway/require-free-ports.ts';
import { portsThatStayFree } from '#test/fixtures/processes/free-ports.ts';

const free = { host: '127.0.0.1', estPort: 0, mqttPort: 0, statusPort: 0, operatorPort: 0 };

it('names the door whose port is taken and the option that changes it', async () => {
  const [port = 0] = await portsThatStayFree(1);
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  await expect(requireFreePorts(parseConfig({ ...free, mqttPort: port }))).rejects.toThrow(
    `port ${port} for the MQTT door is taken: stop the other program or choose another with --mqtt-port`,
  );
  server.close();
  await once(server, 'close');
  await requireFreePorts(parseConfig({ ...free, mqttPort: port }));
});

it('refuses two doors on one port, and an address this machine does not have', async () => {
  await expect(requireFreePorts(parseConfig({ ...free, estPort: 18443, operatorPort: 18443 }))).rejects.toThrow(
    'same port',
  );
  await expect(requireFreePorts(parseConfig({ ...free, host: '192.0.2.1', estPort: 18443 }))).rejects.toThrow('--host');
});
