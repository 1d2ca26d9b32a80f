import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { initialiseAuthority } from '#ca/ceremony/initialise-authority.ts';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import type { IssuanceOrder } from '#ca/ports/issuance-order.ts';
import { connectAuthority } from '#ca/socket/authority-client.ts';
import { deviceOrder } from '#test/fixtures/ca/authority.ts';
import { runAuthorityCommand, startAuthorityProcess } from '#test/fixtures/ca/authority-process.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';

async function makeAuthority() {
  const folder = tempFolder();
  const dir = join(folder, 'ca');
  const made = await initialiseAuthority(dir);
  const socket = join(folder, 'a.sock');
  return { folder, dir, socket, made, args: ['--dir', dir, '--socket', socket] };
}

function client(socket: string) {
  const authority = connectAuthority(socket);
  onTestFinished(() => authority.close());
  return authority;
}

describe('authority process', () => {
  it('killed with -9 in a stream of orders has every certificate it gave away, and gives them again', async () => {
    const { args, socket, dir } = await makeAuthority();
    const { spki: publicKey } = makeKey();
    const given = new Map<IssuanceOrder, Buffer>();
    const lost = new Set<IssuanceOrder>();
    for (const round of [1, 2, 3]) {
      const { child, exited } = await startAuthorityProcess(args);
      const authority = client(socket);
      const stream = Array.from({ length: 32 }, async () => {
        for (let i = 0; ; i += 1) {
          const order = deviceOrder({ publicKey, deviceId: `d${round}-${i}` });
          try {
            given.set(order, await authority.issue(order));
          } catch {
            lost.add(order);
            return;
          }
          if (given.size === round * 150) child.kill('SIGKILL');
        }
      });
      await Promise.all(stream);
      expect((await exited).signal).toBe('SIGKILL');
    }

    const { child, exited } = await startAuthorityProcess(args);
    const authority = client(socket);
    const journal = readFileSync(join(dir, 'journal.jsonl'), 'utf8').trimEnd().split('\n');
    const journaled = new Map(
      journal.map((line) => JSON.parse(line)).map((entry) => [`${entry.kind} ${entry.serial}`, entry]),
    );
    expect(given.size).toBeGreaterThanOrEqual(450);
    for (const [order, der] of given) {
      expect(journaled.get(`certificate ${order.serial}`)?.der).toBe(der.toString('base64'));
      expect(await authority.findIssued(order.serial)).toEqual(der);
      expect(await authority.issue(order)).toEqual(der);
    }
    for (const order of lost) {
      const recorded = journaled.get(`intent ${order.serial}`);
      const { tbs } = parseCertificate(await authority.issue(order));
      if (recorded !== undefined) expect(tbs.toString('base64')).toBe(recorded.tbs);
    }
    child.kill('SIGTERM');
    expect((await exited).code).toBe(0);
  });

  it('is not started twice on one folder', async () => {
    const { args, dir, folder } = await makeAuthority();
    await startAuthorityProcess(args);
    const other = join(folder, 'b.sock');
    await expect(startAuthorityProcess(['--dir', dir, '--socket', other])).rejects.toThrow(/another authority/);
  });

  it('listens for its owner only, and takes its socket away when it ends', async () => {
    const { args, socket } = await makeAuthority();
    const { child, exited, ready } = await startAuthorityProcess(args);
    expect(ready).toMatchObject({ ready: true, socket, pid: child.pid, trustDomain: 'gatehouse.internal' });
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    child.kill('SIGINT');
    expect((await exited).code).toBe(0);
    expect(() => statSync(socket)).toThrow(/ENOENT/);
  });

  it('ends with its parent when told to, and not otherwise', async () => {
    const { args, socket } = await makeAuthority();
    const alone = await startAuthorityProcess(args);
    alone.child.stdin?.end();
    const authority = client(socket);
    expect((await authority.describe()).lastCrlNumber).toBe(0);
    alone.child.kill('SIGTERM');
    await alone.exited;
    const bound = await startAuthorityProcess([...args, '--with-parent']);
    bound.child.stdin?.end();
    expect((await bound.exited).code).toBe(0);
  });

  it('ends although a peer does not hang up', async () => {
    const { args, socket } = await makeAuthority();
    const { child, exited } = await startAuthorityProcess(args);
    const peer = connect({ path: socket, allowHalfOpen: true });
    onTestFinished(() => void peer.destroy());
    // It may be reset: half a request was never read.
    peer.on('error', () => {});
    await new Promise((resolve) => peer.once('connect', resolve));
    // Only what is left of half a request.
    peer.write(Buffer.from('000000ff', 'hex'));
    child.kill('SIGTERM');
    expect((await exited).code).toBe(0);
  });

  it('takes the passphrase from the file named by the environment, and says what is wrong with another', async () => {
    const { args, folder, dir } = await makeAuthority();
    const wrong = join(folder, 'wrong');
    writeFileSync(wrong, 'wrong\n', { mode: 0o600 });
    await expect(startAuthorityProcess(args, { GATEHOUSE_CA_PASSPHRASE_FILE: wrong })).rejects.toThrow(
      /wrong passphrase/,
    );
    const right = join(folder, 'right');
    writeFileSync(right, readFileSync(join(dir, 'passphrase')), { mode: 0o600 });
    await startAuthorityProcess(args, { GATEHOUSE_CA_PASSPHRASE_FILE: right });
  });

  it('writes neither passphrase nor key into its log', async () => {
    const { args, dir, socket } = await makeAuthority();
    const { log, child, exited } = await startAuthorityProcess(args);
    await client(socket).issue(deviceOrder());
    child.kill('SIGTERM');
    await exited;
    expect(log()).toContain('authority listens');
    expect(log()).not.toContain(readFileSync(join(dir, 'passphrase'), 'utf8').trim());
    expect(log()).not.toContain('PRIVATE KEY');
  });
});

describe('authority command line', () => {
  it('makes an authority and prints what devices pin', async () => {
    const dir = join(tempFolder(), 'ca');
    const { stdout } = await runAuthorityCommand([
      'init',
      '--dir',
      dir,
      '--trust-domain',
      'plant.example',
      '--algorithm',
      'ed25519',
    ]);
    const made = JSON.parse(stdout);
    expect(made).toMatchObject({ trustDomain: 'plant.example', rootPem: join(dir, 'root.pem') });
    expect(made.rootSha256).toMatch(/^[0-9a-f]{64}$/);
    await expect(runAuthorityCommand(['init', '--dir', dir])).rejects.toMatchObject({ code: 1 });
  });

  it.each([
    ['a folder that is not there', ['serve', '--dir', '/does/not/exist', '--socket', '/tmp/x'], /gatehouse ca init/],
    ['an unknown flag', ['serve', '--dir', '/x', '--socket', '/x', '--passphrase', 'x'], /unknown option/],
    ['an unknown algorithm', ['init', '--dir', '/x', '--algorithm', 'rsa-1024'], /Allowed choices/],
  ])('says what is wrong with %s', async (_what, args, message) => {
    await expect(runAuthorityCommand(args)).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(message) });
  });

  it('explains itself', async () => {
    expect((await runAuthorityCommand(['--help'])).stdout).toMatch(/serve[^]*init/);
  });
});
