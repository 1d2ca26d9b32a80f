import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { test } from 'vitest';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { startGateway } from '#test/fixtures/processes/gateway-process.ts';

const exec = promisify(execFile);
test('x', async () => {
  const gateway = await startGateway();
  try {
    const ids = [];
    for (let i = 0; i < 600; i += 20)
      ids.push(
        ...(await Promise.all(
          Array.from({ length: 20 }, async (_, k) => {
            const c = await enrollByHand(gateway, `d-${i + k}`);
            return { id: `d-${i + k}`, chain: c.pem, keyPem: c.keyPem, der: c.der.toString('base64') };
          }),
        )),
      );
    writeFileSync('/tmp/m-ids.json', JSON.stringify(ids));
    const load = async (...a: string[]) => {
      const { stdout } = await exec('node', [
        'zz-m-load.ts',
        String(gateway.ready.mqtt.port),
        gateway.ready.rootPem,
        '/tmp/m-ids.json',
        ...a,
      ]);
      console.log(stdout.trim());
    };
    await load('closed', '16', '4');
    await load('closed', '16', '6');
    await load('closed', '64', '6');
    await load('closed', '300', '6');
    await load('open', '400', '6');
    await load('open', '800', '6');
    await load('open', '1600', '6');
    await load('closed', '16', '6');
  } finally {
    await gateway.dispose();
  }
}, 200000);
