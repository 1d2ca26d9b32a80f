import { generateKeyPairSync } from 'node:crypto';
import { lstatSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LateBroker } from '#gateway/late-broker.ts';
import { OwnIdentities } from '#gateway/own-identities.ts';
import { RecurringWork } from '#gateway/recurring-work.ts';
import { prepareSockets } from '#gateway/socket-folder.ts';
import { FakeBroker } from '#test/fakes/fake-broker.ts';
import { DAY, openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';

let folder: string;
let world: World;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-start-'));
  world = await openWorld();
});
afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

describe('the sockets', () => {
  it('live in the data folder, closed to others', async () => {
    const { operator } = await prepareSockets(folder);
    expect(operator).toBe(join(folder, 'run/operator.sock'));
    expect(lstatSync(join(folder, 'run')).mode & 0o777).toBe(0o700);
  });

  it('live elsewhere when the path of the data folder is too long for a socket, the same place each time', async () => {
    const long = join(folder, 'd'.repeat(90));
    const first = await prepareSockets(long);
    expect(Buffer.byteLength(first.authority)).toBeLessThanOrEqual(103);
    expect(await prepareSockets(long)).toEqual(first);
    const place = join(first.operator, '..');
    expect(lstatSync(place).mode & 0o777).toBe(0o700);
    await rm(place, { recursive: true });
  });
});

describe("the gateway's own certificates", () => {
  const names = { dnsNames: ['gate.example'], ipAddresses: ['127.0.0.1'] };

  it('are kept while they are good, and replaced at two thirds of their life or when a name is missing', async () => {
    const first = open(names);
    expect(await first.refresh()).toBe(true);
    const { serial } = first.server.certificate;
    const again = open(names);
    expect(await again.refresh()).toBe(false);
    expect(again.server.certificate.serial).toBe(serial);
    const renamed = open({ ...names, dnsNames: ['gate.example', 'second.example'] });
    expect(await renamed.refresh()).toBe(true);
    expect(renamed.server.certificate.dnsNames).toContain('second.example');
    world.clock.at += 21 * DAY;
    expect(await renamed.refresh()).toBe(true);
    expect(renamed.noticeSigner.certificate.serial).not.toBe(first.noticeSigner.certificate.serial);
  });

  it('are made anew when the clock was set back after they were made by one that was ahead', async () => {
    const identities = open(names);
    world.clock.at += 40 * DAY;
    await identities.refresh();
    world.clock.at -= 40 * DAY;
    expect(await identities.refresh()).toBe(true);
    for (const { certificate } of [identities.server, identities.noticeSigner])
      expect(certificate.notBefore).toBeLessThanOrEqual(world.clock.at);
    expect(await identities.refresh()).toBe(false);
  });

  it('are made anew for a key that was replaced', async () => {
    const identities = open(names);
    await identities.refresh();
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    writeFileSync(join(folder, 'gateway/server.key.pem'), key.export({ type: 'pkcs8', format: 'pem' }));
    expect(await identities.refresh()).toBe(true);
    expect(readFileSync(join(folder, 'gateway/server.pem'), 'utf8').match(/BEGIN/g)).toHaveLength(2);
  });
});

describe('a broker that is not there yet', () => {
  it('answers like one nobody is connected to, and hands over fleet notices when it is', async () => {
    const late = new LateBroker();
    expect(late.sessions()).toEqual([]);
    expect(await late.close([], 'x')).toBe(0);
    late.publishFleet('v1/fleet/revocations', 'old');
    late.publishFleet('v1/fleet/revocations', 'new');
    const broker = new FakeBroker();
    late.attach(broker);
    expect(broker.fleet).toEqual([{ topic: 'v1/fleet/revocations', token: 'new' }]);
  });
});

describe('recurring work', () => {
  it('never runs twice at a time, goes on after a failure and is over when it was stopped', async () => {
    const work = new RecurringWork(world.log);
    let running = 0;
    let most = 0;
    let turns = 0;
    const third = Promise.withResolvers<void>();
    work.add('test', 1, async () => {
      running += 1;
      turns += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running -= 1;
      if (turns === 3) third.resolve();
      throw new Error('as always');
    });
    await third.promise;
    await work.stop();
    expect(most).toBe(1);
    expect(running).toBe(0);
    expect(world.log.lines).toContainEqual(expect.objectContaining({ message: 'recurring work failed' }));
  });
});

function open(names: { dnsNames: string[]; ipAddresses: string[] }): OwnIdentities {
  return new OwnIdentities(world, { folder: join(folder, 'gateway'), issuer: () => world.intermediate.der, ...names });
}
